//! The layering rules of the crate's front page, as a test.

use std::{fs, path::Path};

/// A room, the rooms it may name, the crates it may not name.
struct Rule {
    room: &'static str,
    may_name: &'static [&'static str],
    banned: &'static [&'static str],
    pure: bool,
}

const ROOMS: &[&str] = &[
    "api",
    "apply",
    "cli",
    "clock",
    "control",
    "decide",
    "domain",
    "expr",
    "gitops",
    "notify",
    "observe",
    "sim",
    "telemetry",
];

const IO: &[&str] = &["kube", "k8s_openapi", "tokio", "git2", "reqwest", "tracing", "axum", "futures"];

const RULES: &[Rule] = &[
    Rule { room: "domain", may_name: &[], banned: IO, pure: true },
    Rule { room: "expr", may_name: &["domain"], banned: IO, pure: true },
    Rule { room: "decide", may_name: &["domain", "expr"], banned: IO, pure: true },
    Rule {
        room: "api",
        may_name: &["domain", "expr", "decide"],
        banned: &["tokio", "git2", "reqwest", "tracing"],
        pure: false,
    },
    Rule {
        room: "observe",
        may_name: &["domain", "expr", "decide", "api", "clock", "telemetry"],
        banned: &["git2"],
        pure: false,
    },
    Rule {
        room: "apply",
        may_name: &["domain", "expr", "decide", "api", "clock", "telemetry"],
        banned: &["git2"],
        pure: false,
    },
    Rule {
        room: "gitops",
        may_name: &["domain", "expr", "decide", "api", "clock", "telemetry"],
        banned: &[],
        pure: false,
    },
    Rule {
        room: "notify",
        may_name: &["domain", "expr", "decide", "api", "clock", "telemetry"],
        banned: &["git2"],
        pure: false,
    },
    Rule {
        room: "control",
        may_name: &[
            "domain",
            "expr",
            "decide",
            "api",
            "observe",
            "apply",
            "gitops",
            "notify",
            "clock",
            "telemetry",
        ],
        banned: &["git2"],
        pure: false,
    },
    Rule { room: "telemetry", may_name: &[], banned: &["git2", "kube"], pure: false },
];

fn broken(rule: &Rule, place: &str, source: &str) -> Vec<String> {
    let mut found = vec![];
    for (number, line) in source.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let at = format!("{place}:{}", number + 1);
        for other in ROOMS.iter().filter(|other| **other != rule.room && !rule.may_name.contains(other)) {
            if names(code, &format!("crate::{other}")) {
                found.push(format!("{at}: {} -> {other}", rule.room));
            }
        }
        for name in rule.banned {
            if names(code, &format!("{name}::")) {
                found.push(format!("{at}: {} -> {name}", rule.room));
            }
        }
        if rule.pure && (names(code, "async ") || names(code, "HashMap") || names(code, "Timestamp::now")) {
            found.push(format!("{at}: {} is a pure room", rule.room));
        }
    }
    found
}

/// True where `code` holds `name` and the name does not begin in the middle of a longer one, nor goes on.
fn names(code: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        !before.is_some_and(word) && (name.ends_with([':', ' ']) || !after.is_some_and(word))
    })
}

fn visit(dir: &Path, each: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, each);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            each(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn rooms_name_only_the_rooms_below_them() {
    let mut all = vec![];
    for rule in RULES {
        visit(&root().join("src").join(rule.room), &mut |path, source| {
            all.extend(broken(rule, &path.strip_prefix(root()).unwrap().display().to_string(), source));
        });
    }
    assert!(all.is_empty(), "layering broken:\n{}", all.join("\n"));
}

#[test]
fn only_the_command_line_sees_the_embedded_world() {
    let mut all = vec![];
    for room in ROOMS.iter().filter(|room| !["cli", "sim", "clock"].contains(room)) {
        visit(&root().join("src").join(room), &mut |path, source| {
            for (number, line) in source.lines().enumerate() {
                if names(line.split("//").next().unwrap_or_default(), "crate::sim") {
                    all.push(format!("{}:{}", path.display(), number + 1));
                }
            }
        });
    }
    assert!(all.is_empty(), "production code names sim:\n{}", all.join("\n"));
}

#[test]
fn a_planted_import_is_found() {
    let decide = RULES.iter().find(|rule| rule.room == "decide").unwrap();
    for planted in [
        "use crate::control::queue;",
        "    tokio::spawn(x);",
        "pub async fn f() {}",
        "let x: HashMap<u8, u8>;",
    ] {
        assert_eq!(broken(decide, "planted", planted).len(), 1, "{planted}");
    }
    assert!(broken(decide, "clean", "use crate::domain::Weight; // not crate::control").is_empty());
}

#[test]
fn no_source_file_is_over_600_lines() {
    let mut long = vec![];
    for folder in ["src", "e2e"] {
        visit(&root().join(folder), &mut |path, source| {
            let lines = source.lines().count();
            if lines > 600 {
                long.push(format!("{} has {lines}", path.display()));
            }
        });
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}
