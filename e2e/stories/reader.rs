//! A reader's own manifests, and the real program: `-f`, `--out`, and what it says to nonsense.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use serin::sim::{
    engine,
    play::{cast::Cast, scenario::Scenario},
};

use crate::play::Play;

/// Manifests that share no name with the built-in ones.
fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/stories/checkout")
}

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_serin")).arg("demo").args(arguments).env_clear().output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_readers_manifests_are_played_to_the_right_ending() {
    for scenario in [Scenario::BadMetric, Scenario::Good] {
        let cast = Cast::read(&manifests(), scenario).unwrap();
        assert_eq!(cast.versions(), ("2.7.1", "2.8.1"));
        let seen = Play { cast, ..Play::of(scenario) }.run();
        assert_eq!(seen.wrong, Vec::<String>::new(), "{scenario}");
    }
}

#[test]
fn the_program_leaves_what_it_saw() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/out");
    let manifests = manifests();
    let arguments = ["--speed", "25", "--out", out.to_str().unwrap(), "-f", manifests.to_str().unwrap()];
    let output = demo(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let read = |name: &str| serde_json::from_slice::<Value>(&std::fs::read(out.join(name)).unwrap()).unwrap();
    timeline(&read("timeline.json"));
    assert_eq!(read("slack.json"), serde_json::json!([]), "nobody subscribed");
    let history = engine::history(&out.join("repo.git")).unwrap();
    let authors: Vec<_> = history.iter().map(|commit| commit.author.as_str()).collect();
    assert_eq!(authors, ["SelfHeal Bot", "Robin Example", "Robin Example"]);
    let changed = history[0].patch.lines().filter(|line| line.starts_with(['+', '-'])).collect::<Vec<_>>();
    assert_eq!(
        changed,
        [
            "--- a/manifests/rollout.yml",
            "+++ b/manifests/rollout.yml",
            "-        image: \"ghcr.io/acme/checkout:2.8.1\"   # bumped by the release job",
            "+        image: \"ghcr.io/acme/checkout:2.7.1\"   # bumped by the release job",
        ]
    );
    let again = demo(&["--out", out.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    assert!(said(&again).contains("is not empty"), "{}", said(&again));
}

/// A list of `{at, what, canaryWeight}` in order of time, whose weights are the steps of the Rollout and then 0.
fn timeline(timeline: &Value) {
    let entries = timeline.as_array().unwrap();
    let mut last = jiff::Timestamp::MIN;
    let mut weights = vec![];
    for entry in entries {
        let keys: Vec<_> = entry.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["at", "canaryWeight", "what"]);
        let at: jiff::Timestamp = entry["at"].as_str().unwrap().parse().unwrap();
        assert!(at >= last, "{entry}");
        last = at;
        if entry["canaryWeight"].is_i64() && weights.last() != Some(&entry["canaryWeight"]) {
            weights.push(entry["canaryWeight"].clone());
        }
        assert!(!entry["what"].as_str().unwrap().is_empty());
    }
    assert_eq!(weights, [0, 5, 40, 0]);
}

/// A folder, the files in it, and what the program has to say of them.
type Nonsense = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const NONSENSE: &[Nonsense] = &[
    ("nothing", &[], "no Rollout was found"),
    ("no yaml", &[("readme.txt", "kind: Rollout")], "no Rollout was found"),
    ("prose", &[("a.yaml", "Once upon a time: there: was")], "a.yaml is not YAML"),
    ("a list", &[("a.yaml", "- 1\n- [2]\n")], "no Rollout was found"),
    ("numbers", &[("a.yaml", "kind: 7\n---\n8\n---\n~\n")], "no Rollout was found"),
    ("only a kind", &[("a.yaml", "kind: Rollout\n")], "metadata.name"),
    ("metadata is a number", &[("a.yaml", "kind: Rollout\nmetadata: 7\nspec: 8\n")], "metadata.name"),
    (
        "metadata is a list",
        &[(
            "a.yaml",
            "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: [a]\nspec: {template: {spec: {containers: [{image: 'a:1'}]}}}\n",
        )],
        "metadata",
    ),
    (
        "no name",
        &[(
            "a.yaml",
            "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {template: {spec: {containers: [{image: 'a:1'}]}}}\n",
        )],
        "name",
    ),
    (
        "no tag",
        &[(
            "a.yaml",
            "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{image: 'host:5000/a'}]}}}\n",
        )],
        "no image with a tag",
    ),
    (
        "two",
        &[("a.yaml", "kind: Rollout\nmetadata: {name: a}\n---\nkind: Rollout\nmetadata: {name: b}\n")],
        "a, b",
    ),
    (
        "anchors",
        &[(
            "a.yaml",
            "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\ng: [*f, *f, *f, *f, *f, *f, *f, *f, *f]\n",
        )],
        "a.yaml",
    ),
];

#[test]
fn nonsense_is_answered_with_a_sentence_and_exit_status_2() {
    let folder = tempfile::tempdir().unwrap();
    for (name, files, expected) in NONSENSE {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        for (file, text) in *files {
            std::fs::write(path.join(file), text).unwrap();
        }
        refuses(&path, expected);
    }
    refuses(&folder.path().join("not there"), "not there");
    let path = folder.path().join("folders");
    std::fs::create_dir_all(path.join("a.yaml")).unwrap();
    refuses(&path, "a.yaml");
    let path = folder.path().join("depth");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("a.yaml"), "[".repeat(100_000)).unwrap();
    refuses(&path, "a.yaml");
    let path = folder.path().join("bytes");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("a.yaml"), [0xff, 0xfe, 0x00, 0x9f]).unwrap();
    refuses(&path, "a.yaml");
}

/// What a small change to good manifests makes of them.
#[test]
fn manifests_that_cannot_be_played_are_refused_with_the_reason() {
    let istio =
        "      trafficRouting:\n        istio: {virtualService: {name: checkout-routes, routes: [web]}}\n";
    let changes = [
        ("rollout.yml", "canary:\n", "blueGreen:\n", "spec.strategy"),
        ("rollout.yml", "duration: 45s", "duration: soon", "spec.strategy.canary.steps[1].pause"),
        ("rollout.yml", "{pause: {duration: 1m}}", "{pause: {}}", "steps[5].pause has no duration"),
        ("rollout.yml", istio, "", "trafficRouting"),
        ("rollout.yml", "replicas: 6", "replicas: 0", "spec.replicas"),
        ("rollout.yml", "name: checkout-routes, routes", "name: checkout-paths, routes", "checkout-paths"),
        ("rollout.yml", "templateName: latency", "templateName: latencies", "latencies"),
        ("rollout.yml", "namespace: payments", "namespace: Payments!", "metadata.namespace"),
        ("routes.yaml", "- name: web", "- name: site", "no http route named `web`"),
        ("latency.yaml", "      prometheus:\n", "      wavefront:\n", "p99"),
    ];
    for (file, from, to, expected) in changes {
        let folder = changed(file, from, to);
        refuses(folder.path(), expected);
    }
}

/// The manifests with one passage of one file changed.
fn changed(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(manifests()).unwrap() {
        let entry = entry.unwrap();
        let mut text = std::fs::read_to_string(entry.path()).unwrap();
        if entry.file_name() == file {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(folder.path().join(entry.file_name()), text).unwrap();
    }
    folder
}

#[test]
fn each_channel_that_the_reader_subscribed_gets_one_message() {
    let annotations =
        "annotations: {notifications.argoproj.io/subscribe.on-rollout-aborted.slack: sre;payments}";
    let folder = changed("rollout.yml", "labels: {team: payments}", annotations);
    let cast = Cast::read(folder.path(), Scenario::BadMetric).unwrap();
    let seen = Play { cast, ..Play::of(Scenario::BadMetric) }.run();
    assert_eq!(seen.wrong, Vec::<String>::new());
    let mut channels: Vec<_> = seen.slack.messages().into_iter().map(|message| message.channel).collect();
    channels.sort();
    assert_eq!(channels, ["payments", "sre"]);
}

/// No number is bad under these conditions, so the bad version gets through, and the program does not call that a
/// success.
#[test]
fn a_story_that_ends_wrong_is_exit_status_1() {
    let folder = changed("latency.yaml", "failureCondition: len(result) > 0 && result[0] >= 300", "");
    let text = std::fs::read_to_string(folder.path().join("latency.yaml")).unwrap();
    let text = text.replace("len(result) > 0 && result[0] < 300", "len(result) >= 0");
    std::fs::write(folder.path().join("latency.yaml"), text).unwrap();
    let output = demo(&["--speed", "500", "-f", folder.path().to_str().unwrap()]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("The story went wrong:\n  - the story waited in vain for its ending\n"), "{said}");
}

fn refuses(folder: &Path, expected: &str) {
    let output = demo(&["--speed", "1000", "-f", folder.to_str().unwrap()]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{}: {said}", folder.display());
    assert!(said.starts_with("serin demo: ") && said.contains(expected), "{expected}: {said}");
    assert!(!said.contains("panicked"), "{said}");
}
