"""Layout: which addresses of a program stand where in its file. What ELF, Mach-O and PE have in common."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Region(msgspec.Struct, frozen=True):
    """A segment or section: `size` bytes of the file from `offset` on, `memory` bytes at `address` when it runs."""

    name: str
    address: int
    offset: int
    size: int
    memory: int
    writable: bool = False
    executable: bool = False

    def holds(self, address: int) -> bool:
        return self.address <= address < self.address + max(self.memory, self.size)


class Layout(msgspec.Struct, frozen=True):
    """`pointer` is 4 or 8 bytes; `segments` are what the system maps, `sections` what the linker named."""

    pointer: int
    segments: tuple[Region, ...]
    sections: tuple[Region, ...] = ()

    def section(self, *names: str) -> Region | None:
        """The first section with one of these names that has bytes in the file and is part of what is mapped."""
        return next((s for s in self.sections if s.name in names and s.size and self._is_mapped(s)), None)

    def segment_at(self, address: int) -> Region | None:
        """The segment that holds the address."""
        return next((s for s in self.segments if s.holds(address)), None)

    def offset_of(self, address: int, size: int = 1) -> int | None:
        """Where `size` bytes from `address` on stand in the file; None if they do not all stand there in a row."""
        segment = self.segment_at(address)
        if segment is None or address - segment.address + size > segment.size:
            return None
        return segment.offset + address - segment.address

    def spans(self, choose: Callable[[Region], bool]) -> list[tuple[int, int]]:
        """Start and end, in the file, of what the chosen segments map; those that touch or overlap are joined.

        A search that goes by spans reads each byte once, however often a hostile file maps it.
        """
        joined: list[tuple[int, int]] = []
        for start, end in sorted((s.offset, s.offset + s.size) for s in self.segments if s.size and choose(s)):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        return joined

    def _is_mapped(self, section: Region) -> bool:
        """Section tables are decoration: one that points outside of the mapped bytes is not believed."""
        return any(
            s.offset <= section.offset and section.offset + section.size <= s.offset + s.size for s in self.segments
        )
