"""What every program of an OS may ask for: the loaders and libraries that the OS itself brings."""

from __future__ import annotations

from fnmatch import fnmatchcase

_OPENBSD = (("/usr/libexec/ld.so",), ("libc.so*", "libpthread.so*"))
_SOLARIS = (
    ("/lib/amd64/ld.so.1", "/lib/64/ld.so.1", "/lib/sparcv9/ld.so.1", "/usr/lib/ld.so.1", "/lib/ld.so.1"),
    ("libc.so*", "libsocket.so*", "libsendfile.so*", "libnsl.so*", "libresolv.so*"),
)
_ANDROID = (("/system/bin/linker", "/system/bin/linker64"), ("libc.so", "libdl.so", "libm.so", "liblog.so"))
ELF = {"openbsd": _OPENBSD, "solaris": _SOLARIS, "illumos": _SOLARIS, "android": _ANDROID}
"""OS -> (loaders, globs of libraries). OpenBSD and Solaris have no other way into the kernel (golang/go#36435)."""

_WINDOWS_NAMES = """
advapi32 bcrypt bcryptprimitives cfgmgr32 combase comctl32 comdlg32 credui crypt32 cryptbase cryptsp d2d1 d3d11
d3d12 d3d9 d3dcompiler_47 dbghelp dhcpcsvc dnsapi dsound dwmapi dwrite dxgi dxva2 esent fltlib fwpuclnt gdi32
gdi32full gdiplus glu32 hid httpapi imagehlp imm32 iphlpapi kernel32 kernelbase ktmw32 mfplat mpr msacm32 msi
msimg32 msvcrt mswsock ncrypt netapi32 newdev normaliz ntdll ntdsapi odbc32 ole32 oleacc oleaut32 opengl32 pdh
powrprof propsys psapi rasapi32 rpcrt4 sechost secur32 setupapi shcore shell32 shlwapi sspicli tdh ucrtbase urlmon
user32 userenv usp10 uxtheme version virtdisk wevtapi winhttp wininet winmm winscard winspool.drv winsta wintrust
wlanapi wldap32 ws2_32 wsock32 wtsapi32 xinput1_4 xmllite
"""
_WINDOWS = frozenset(_WINDOWS_NAMES.split())
"""DLLs in System32 of every supported Windows, without `.dll`."""


def elf_allows(system: str, interpreter: str, needed: tuple[str, ...]) -> bool:
    """Whether the OS gives every program this loader and these libraries."""
    loaders, libraries = ELF.get(system, ((), ()))
    return interpreter in loaders and all(any(fnmatchcase(n, pattern) for pattern in libraries) for n in needed)


def macho_allows(dylib: str) -> bool:
    """Whether the path is one that macOS itself fills; one that climbs out with `..` is not."""
    return dylib.startswith(("/usr/lib/", "/System/Library/")) and ".." not in dylib.split("/")


def pe_allows(dll: str) -> bool:
    """Whether the DLL is part of Windows: its own, or an API set that the loader maps to one."""
    name = dll.lower().removesuffix(".dll")
    return name in _WINDOWS or name.startswith(("api-ms-win-", "ext-ms-win-", "ext-ms-onecore-"))
