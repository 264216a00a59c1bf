"""The matrix: order, levels, overrides, exclusions, origins, and every mistake with its line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagekit.errors import ConfigError
from imagekit.targets.build import Build
from imagekit.targets.matrix import expand
from imagekit.targets.target import Cgo, Target, XValue

Expanded = Callable[[str], tuple[Target, ...]]
Told = Callable[[str], str]


def test_platforms_come_in_the_order_in_which_they_are_written(expanded: Expanded) -> None:
    targets = expanded("""
builds:
  - {id: b, main: ./cmd/b, platforms: [windows/amd64, linux/arm, linux/amd64/v3, linux/amd64]}
  - {main: ./cmd/a, platforms: [linux/arm64]}
""")
    assert [target.id for target in targets] == [
        *("b:windows/amd64", "b:linux/arm/v7", "b:linux/amd64/v3", "b:linux/amd64", "a:linux/arm64"),
    ]
    assert [target.level for target in targets] == ["v1", "7", "v3", "v1", "v8.0"]


def test_levels_change_the_level_and_not_the_id(expanded: Expanded) -> None:
    targets = expanded("""
builds:
  - id: app
    platforms: [linux/amd64, linux/amd64/v4, linux/386, linux/arm64]
    levels: {amd64: v3, 386: softfloat, arm64: "v8.0,lse"}
""")
    assert [(target.id, target.level) for target in targets] == [
        ("app:linux/amd64", "v3"),
        ("app:linux/amd64/v4", "v4"),
        ("app:linux/386", "softfloat"),
        ("app:linux/arm64", "v8.0,lse"),
    ]


def test_overrides_are_read_top_to_bottom_and_the_later_wins(expanded: Expanded) -> None:
    amd64, arm64, darwin = expanded("""
builds:
  - id: app
    main: ./cmd/app
    platforms: [linux/amd64, linux/arm64, darwin/arm64]
    tags: [one]
    flags: [-buildmode=exe]
    ldflags: {set: {main.a: x, main.b: y}, flags: [-buildid=]}
    env: {GODEBUG: a=1}
    overrides:
      - select: "linux/*"
        tags: {append: [two], prepend: [zero]}
        flags: []
        ldflags: {set: {main.b: z, main.c: "{{ arch }}"}, strip: true}
        env: {GOFIPS140: latest}
      - select: ["*/arm64", "!darwin"]
        tags: {append: [three]}
        cgo: static
      - select: "app:darwin"
        tags: [only]
        ldflags: {flags: {append: [-w]}}
        unsafe: {flags: {append: [-x]}, env: {A: b}}
""")
    assert [target.tags for target in (amd64, arm64, darwin)] == [
        ("zero", "one", "two"),
        ("zero", "one", "two", "three"),
        ("only",),
    ]
    assert [target.flags for target in (amd64, darwin)] == [(), ("-buildmode=exe",)]
    assert amd64.ldflags.values == (XValue("main.a", "x"), XValue("main.b", "z"), XValue("main.c", "amd64"))
    assert darwin.ldflags.values == (XValue("main.a", "x"), XValue("main.b", "y"))
    assert [target.ldflags.strip for target in (amd64, darwin)] == [True, False]
    assert darwin.ldflags.flags == ("-buildid=", "-w")
    assert amd64.env == (("GODEBUG", "a=1"), ("GOFIPS140", "latest"))
    assert [target.cgo for target in (amd64, arm64)] == [Cgo.OFF, Cgo.STATIC]
    assert (darwin.unsafe.flags, darwin.unsafe.env) == (("-x",), (("A", "b"),))


def test_each_setting_knows_its_line(expanded: Expanded) -> None:
    (target,) = expanded("""builds:
  - main: ./cmd/app
    platforms: [linux/amd64]
    levels: {amd64: v2}
    tags: [one]
    flags:
      - -buildmode=pie
      - -tags=two
    ldflags:
      set:
        main.a: x
      flags:
        - -s
        - -X=main.b=y
    overrides:
      - select: linux
        tags:
          append:
            - three
        env: {GODEBUG: x=1}
""")
    assert {name: target.origin(name) for name, _ in target.origins} == {
        "platforms": "imagekit.yaml:3",
        "level": "imagekit.yaml:4",
        "main": "imagekit.yaml:2",
        "prebuilt": "default",
        "dir": "default",
        "ldflags": "imagekit.yaml:10",
        "tags/one": "imagekit.yaml:5",
        "tags/three": "imagekit.yaml:19",
        "tags/two": "imagekit.yaml:8",
        "flags/-buildmode=pie": "imagekit.yaml:7",
        "flags/-tags=two": "imagekit.yaml:8",
        "ldflags/strip": "imagekit.yaml:13",
        "ldflags/flags/-s": "imagekit.yaml:13",
        "ldflags/flags/-X=main.b=y": "imagekit.yaml:14",
        "ldflags/set/main.a": "imagekit.yaml:11",
        "ldflags/set/main.b": "imagekit.yaml:14",
        "env/GODEBUG": "imagekit.yaml:20",
        "cgo": "default",
    }


def test_there_is_one_place_for_tags_x_values_and_strip(expanded: Expanded) -> None:
    (target,) = expanded("""
builds:
  - id: app
    platforms: [linux/amd64]
    tags: [a, b, a]
    flags: ["--tags=b,c", --race]
    ldflags: {flags: [-s, -w, "-X=main.a={{ version }} of {{ tags }}"]}
""")
    assert target.tags == ("a", "b", "c")
    assert target.flags == ("-race",)
    assert target.ldflags.strip
    assert target.ldflags.flags == ("-w",)
    assert target.ldflags.values == (XValue("main.a", "1.2.3 of a,b,c"),)


def test_what_a_template_brings_in_is_no_template(expanded: Expanded) -> None:
    (target,) = expanded("""
builds:
  - id: app
    platforms: [linux/amd64]
    ldflags: {flags: ["-X=main.a={{ env.TEMPLATE }}"], set: {main.b: "{{ env.TEMPLATE }}"}}
""")
    assert target.ldflags.values == (XValue("main.a", "{{ version }}"), XValue("main.b", "{{ version }}"))


def test_what_a_template_brings_in_is_judged_as_what_is_written(told: Told) -> None:
    message = told("""
builds:
  - id: app
    platforms: [linux/amd64]
    flags: ["{{ '-toolexec=' ~ version }}"]
    env: {"GODEBUG": "{{ env.TOKEN }}"}
""")
    assert "imagekit.yaml:5:13: flags: the flag '-toolexec' is not allowed" in message
    assert "imagekit.yaml:6:22: the value looks like a GitHub token" in message


def test_prebuilt_files_are_found_by_platform(expanded: Expanded) -> None:
    targets = expanded("""
builds:
  - {id: app, prebuilt: "out/{{ os }}_{{ arch }}/app", platforms: [linux/amd64, linux/arm64]}
""")
    assert [(target.main, target.prebuilt) for target in targets] == [
        ("", "out/linux_amd64/app"),
        ("", "out/linux_arm64/app"),
    ]


def test_an_exclusion_leaves_out_and_may_hold_already(expanded: Expanded) -> None:
    targets = expanded("""
builds:
  - id: app
    platforms: [linux/amd64, linux/arm64, windows/amd64]
    exclude: ["windows/*", "darwin/arm64", "app:*/386"]
  - id: other
    platforms: [linux/amd64, linux/arm64, windows/amd64]
    exclude: ["!linux"]
""")
    assert [target.id for target in targets] == [
        "app:linux/amd64",
        "app:linux/arm64",
        "other:linux/amd64",
        "other:linux/arm64",
    ]


def test_builds_without_a_file_have_the_origin_default() -> None:
    targets = expand([Build(main="./cmd/app")], lambda text, _cell: text)
    assert [target.id for target in targets] == ["app:linux/amd64", "app:linux/arm64"]
    assert {where for _, where in targets[0].origins} == {"default"}
    with pytest.raises(ConfigError) as caught:
        expand([Build(main="./cmd/...")], lambda text, _cell: text)
    assert caught.value.message.startswith("command line: './cmd/...' is a pattern")


BUILD = "builds:\n  - id: app\n    platforms: [linux/amd64, linux/arm64]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            BUILD + '    overrides: [{select: "linux/386"}]',
            "imagekit.yaml:4:26: 'linux/386' matches no target of 'app'",
        ),
        (BUILD + "    overrides: [{select: [linux, windows]}]", "imagekit.yaml:4:34: 'windows' matches no target"),
        (BUILD + '    overrides: [{select: ["!windows"]}]', "imagekit.yaml:4:27: '!windows' matches no target"),
        (BUILD + "    overrides: [{select: other:linux}]", "'other:linux' matches no target of 'app'"),
        (BUILD + "    overrides: [{select: []}]", "imagekit.yaml:4:26: selects nothing"),
        (BUILD + "    overrides: [{select: a//b}]", "imagekit.yaml:4:26: 'a//b' is not a selector"),
        (BUILD + "    overrides: [{tags: [x]}]", "imagekit.yaml:4:17: the key 'select' is missing"),
        (BUILD + '    exclude: ["widows/*"]', "imagekit.yaml:4:15: 'widows/*' matches no platform of Go's"),
        (BUILD + "    exclude: [other:linux]", "'other:linux' matches no platform of Go's"),
        (BUILD + "    exclude: [linux]", "imagekit.yaml:4:14: nothing is left to build"),
        (BUILD + "    levels: {amd46: v3}", "imagekit.yaml:4:21: 'amd46' is not an architecture"),
        (BUILD + "    levels: {arm: v6}", "imagekit.yaml:4:19: arm has no level of its own"),
        (BUILD + "    main: ./...", "imagekit.yaml:4:11: './...' is a pattern"),
        (BUILD + "    main: ./cmd/app/main.go", "is a file"),
        (BUILD + "    main: ./cmd/app@v1.0.0", "is a folder with a version"),
        (BUILD + "    main: /cmd/app", "'/cmd/app' is not a package"),
        (BUILD + "    main: -toolexec=x", "'-toolexec=x' is not a package"),
        (BUILD + "    main: ./a b", "'./a b' is not a package"),
        (BUILD + "    main: ./a\n    prebuilt: b", "imagekit.yaml:5:5: a build has either main or prebuilt"),
        (BUILD + "    dir: /src", "imagekit.yaml:4:10: '/src' is not a folder"),
        (BUILD + "    tags: [a b]", "imagekit.yaml:4:12: tags: 'a b' is not a build tag"),
        (BUILD + '    tags: ["a,b"]', "tags: 'a,b' is not a build tag"),
        (BUILD + '    tags: ["!a"]', "tags: '!a' is not a build tag"),
        (BUILD + "    flags: [-toolexec=x]", "imagekit.yaml:4:13: flags: the flag '-toolexec' is not allowed"),
        (BUILD + '    gcflags: ["all=-o=x"]', "imagekit.yaml:4:15: gcflags: the flag '-o' is not allowed"),
        (BUILD + "    ldflags: {flags: [-extld=x]}", "imagekit.yaml:4:23: ldflags: the flag '-extld' is not allowed"),
        (BUILD + "    ldflags: {set: {version: x}}", "imagekit.yaml:4:30: set: 'version' is not importpath.variable"),
        (BUILD + "    ldflags: {set: {main.a b: x}}", "is not importpath.variable"),
        (BUILD + '    ldflags: {set: {main.a: "\'\\""}}', "cannot hold a NUL or both kinds of quotes"),
        (BUILD + "    env: {GOFLAGS: x}", "imagekit.yaml:4:20: env: the variable 'GOFLAGS' is not allowed"),
        (BUILD + "    env: {GODEBUG: [x]}", "imagekit.yaml:4:20: a list is not text"),
        (BUILD + "    unsafe: {flags: [x]}", "imagekit.yaml:4:22: unsafe.flags: 'x' is not a flag"),
        (BUILD + "    cgo: on", "imagekit.yaml:4:10: 'on' is not known here"),
        (BUILD + "    ldflags: {set: {main.a: '{{ versoin }}'}}", "imagekit.yaml:4:29: 'versoin' is not a name here"),
        (BUILD + "  - id: app", "imagekit.yaml:4:9: a build is called 'app' already (imagekit.yaml:2)"),
        ("builds: [{main: ./x/app}, {main: ./y/app}]", "a build is called 'app' already"),
        ("builds: [{prebuilt: x}]", "imagekit.yaml:1:10: the build has no name"),
        ("builds: [{id: ../x}]", "imagekit.yaml:1:15: '../x' is no id"),
        ('builds: [{id: "a\\n"}]', "is no id"),
        ("builds: [{id: a, platforms: []}]", "imagekit.yaml:1:29: no platform to build for"),
        ("builds: [{id: a, platforms: [linux/amd46]}]", "imagekit.yaml:1:30: Go does not build for 'linux/amd46'"),
        (
            "builds: [{id: a, platforms: [linux/amd64, linux/amd64]}]",
            "imagekit.yaml:1:43: a:linux/amd64 is the same as a:linux/amd64 (imagekit.yaml:1)",
        ),
        (
            "builds: [{id: a, platforms: [linux/amd64/v2, linux/amd64], levels: {amd64: v2}}]",
            "a:linux/amd64 is the same as a:linux/amd64/v2 (imagekit.yaml:1), level v2",
        ),
        ("builds: [{id: a, platforms: [linux/arm, linux/arm/v7]}]", "a:linux/arm/v7 is the same as a:linux/arm/v7"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(told: Told, text: str, message: str) -> None:
    assert message in told(text)


def test_all_mistakes_of_all_builds_come_at_once(told: Told) -> None:
    message = told("""builds:
  - id: a
    platforms: [linux/amd46, linux/arm64]
    flags: [-toolexec=x, -race]
  - id: b
    exclude: ["widows"]
    env: {PATH: x}
""")
    assert message == (
        "imagekit.yaml: 4 mistakes, the first in line 3\n"
        "imagekit.yaml:3:17: Go does not build for 'linux/amd46'\n"
        "  3 |     platforms: [linux/amd46, linux/arm64]\n"
        "    |                 ^\n"
        "    = did you mean linux/amd64 or linux/arm64 or linux/arm?\n"
        "imagekit.yaml:4:13: flags: the flag '-toolexec' is not allowed\n"
        "  4 |     flags: [-toolexec=x, -race]\n"
        "    |             ^\n"
        '    = remove it, or admit it by unsafe: {flags: ["-toolexec=x"]}; allowed here: '
        "-tags -race -cover -covermode -coverpkg -pgo -buildmode -asan -msan -p\n"
        "imagekit.yaml:6:15: 'widows' matches no platform of Go's\n"
        '  6 |     exclude: ["widows"]\n'
        "    |               ^\n"
        "    = platforms here: linux/amd64, linux/arm64\n"
        "imagekit.yaml:7:17: env: the variable 'PATH' is not allowed\n"
        "  7 |     env: {PATH: x}\n"
        "    |                 ^\n"
        "    = put the wanted programs first on the PATH that imagekit is started with"
    )
