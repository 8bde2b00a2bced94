use super::*;
use crate::api::serin::Images;

fn images(pairs: &[(&str, &str)]) -> Images {
    pairs.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect()
}

/// A version of which only the images are known.
pub(super) fn version(images: &Images) -> Version {
    Version { hash: String::new(), images: images.clone() }
}

pub(super) const TARGET: Target<'_> = Target::Manifest { namespace: "shop", name: "myapp" };

fn manifest(bytes: &[u8], bad: &Images, good: &Images) -> Outcome {
    restore(bytes, &Change { target: TARGET, bad: &version(bad), good: &version(good) })
}

/// Restores app:v1.1.0 where app:v1.2.0 failed.
fn app(text: &str) -> Outcome {
    manifest(text.as_bytes(), &images(&[("app", "app:v1.2.0")]), &images(&[("app", "app:v1.1.0")]))
}

/// The edited text; panics with the outcome where there is none.
fn edited(text: &str) -> String {
    let outcome = app(text);
    let Outcome::Edited { bytes, .. } = &outcome else { panic!("not edited: {outcome:?}\n{text}") };
    String::from_utf8(bytes.clone()).unwrap()
}

/// Checks that exactly the version in `text`, which stands there once, is replaced.
fn changes_only_the_version(text: &str) {
    assert_eq!(text.matches("v1.2.0").count(), 1);
    assert_eq!(edited(text), text.replace("v1.2.0", "v1.1.0"));
}

fn refusal(text: &str) -> Refusal {
    let outcome = app(text);
    let Outcome::Refused(refusal) = &outcome else { panic!("not refused: {outcome:?}\n{text}") };
    refusal.clone()
}

const HEAD: &str = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: myapp\n";

fn with_containers(containers: &str) -> String {
    format!("{HEAD}spec:\n  replicas: 10\n  template:\n    spec:\n      containers:\n{containers}")
}

fn with_image(image: &str) -> String {
    with_containers(&format!("        - name: app\n          image: {image}\n"))
}

#[test]
fn plain_and_quoted_images_keep_their_quotes_and_comments() {
    for image in [
        "app:v1.2.0",
        "'app:v1.2.0'",
        "\"app:v1.2.0\"",
        "app:v1.2.0   # {\"$imagepolicy\": \"flux-system:app\"}",
        "!!str app:v1.2.0",
        "&image app:v1.2.0",
        "\n            app:v1.2.0",
        "app:v1.2.0 \t",
    ] {
        changes_only_the_version(&with_image(image));
    }
}

#[test]
fn line_ends_byte_order_mark_and_missing_last_newline_stay() {
    let text = with_image("app:v1.2.0");
    changes_only_the_version(&text.replace('\n', "\r\n"));
    changes_only_the_version(&format!("\u{feff}{text}"));
    changes_only_the_version(&format!("\u{feff}# größer ≥ 日本\n{text}"));
    changes_only_the_version(text.trim_end());
    changes_only_the_version(&format!("{text}\n\n\n# end"));
}

#[test]
fn odd_layouts_of_the_same_manifest_are_edited_in_place() {
    changes_only_the_version(&with_containers(
        "      - {name: app, image: app:v1.2.0, ports: [{containerPort: 80}]}\n",
    ));
    changes_only_the_version(&with_containers(
        "        -   image:   app:v1.2.0\n            env:\n            - {name: A, value: \"on\"}\n            name: app\n",
    ));
    changes_only_the_version(&format!(
        "{HEAD}spec: {{template: {{spec: {{containers: [\n  {{name: 'app',\n   image: 'app:v1.2.0'}}]}}}}}}\n"
    ));
    changes_only_the_version(
        "{\"apiVersion\": \"argoproj.io/v1alpha1\", \"kind\": \"Rollout\", \"metadata\": {\"name\": \"myapp\"},\n \
         \"spec\": {\"template\": {\"spec\": {\"containers\": [{\"name\": \"app\", \"image\": \"app:v1.2.0\"}]}}}}",
    );
}

#[test]
fn only_the_rollout_of_that_name_is_edited_in_a_stream_of_documents() {
    let other = with_image("app:v1.3.0").replace("name: myapp", "name: other");
    let elsewhere = with_image("app:v1.3.0").replace("name: myapp", "name: myapp\n  namespace: elsewhere");
    let template = "apiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: myapp}\nspec:\n  \
                    args: [{name: a}]\n  metrics:\n  - name: m\n    provider: {prometheus: {query: 'up{a=\"{{args.a}}\"}'}}\n";
    let wanted = with_image("app:v1.2.0");
    changes_only_the_version(&format!(
        "# head\n---\n{other}---\n{elsewhere}---\n---\n{template}...\n---  # ours\n{wanted}---\n{template}"
    ));
}

#[test]
fn several_containers_change_together_and_the_others_stay() {
    let text = with_containers(
        "        - {name: app, image: app:v2}\n        - {name: proxy, image: proxy:v7}\n      initContainers:\n        - name: migrate\n          image: app:v2 # same\n",
    );
    let bad = images(&[("app", "app:v2"), ("proxy", "proxy:v7"), ("migrate", "app:v2")]);
    let good = images(&[("app", "app:v1"), ("proxy", "proxy:v7"), ("migrate", "app:v1")]);
    let Outcome::Edited { bytes, edits } = manifest(text.as_bytes(), &bad, &good) else {
        panic!("not edited");
    };
    assert_eq!(String::from_utf8(bytes).unwrap(), text.replace("app:v2", "app:v1"));
    assert_eq!(edits.len(), 2);
    // A person restored one of the two already.
    let half = text.replacen("app:v2", "app:v1", 1);
    assert!(
        matches!(manifest(half.as_bytes(), &bad, &good), Outcome::Edited { edits, .. } if edits.len() == 1)
    );
}

#[test]
fn a_good_value_needs_nothing_and_a_third_one_is_left_alone() {
    assert_eq!(app(&with_image("app:v1.1.0")), Outcome::AlreadyGood);
    assert_eq!(
        app(&with_image("app:v1.2.1")),
        Outcome::ThirdValue { container: "app".into(), found: "app:v1.2.1".into() }
    );
}

#[test]
fn a_value_that_would_not_be_text_without_quotes_gets_quotes() {
    let text = with_image("app");
    let outcome = manifest(text.as_bytes(), &images(&[("app", "app")]), &images(&[("app", "12:30")]));
    let Outcome::Edited { bytes, .. } = outcome else { panic!("{outcome:?}") };
    assert!(String::from_utf8(bytes).unwrap().contains("image: \"12:30\"\n"));
}

#[test]
fn a_value_that_would_need_escapes_is_refused() {
    let outcome = manifest(
        with_image("app:v2").as_bytes(),
        &images(&[("app", "app:v2")]),
        &images(&[("app", "a\"b: c #")]),
    );
    assert_eq!(outcome, Outcome::Refused(Refusal::UnsafeValue("a\"b: c #".into())));
}

#[test]
fn aliases_merge_keys_and_block_scalars_are_refused() {
    let pointer = "/spec/template/spec/containers/0";
    let alias = format!("x: &i app:v1.2.0\n{}", with_image("*i"));
    assert_eq!(refusal(&alias), Refusal::Alias(format!("{pointer}/image")));
    let merged = format!(
        "x: &c {{image: app:v1.2.0}}\n{}",
        with_containers("        - name: app\n          <<: *c\n")
    );
    assert_eq!(refusal(&merged), Refusal::MergeKey(pointer.into()));
    for block in ["|\n            app:v1.2.0", ">-\n            app:v1.2.0"] {
        assert_eq!(refusal(&with_image(block)), Refusal::Style(format!("{pointer}/image")));
    }
}

#[test]
fn an_anchor_that_is_used_elsewhere_is_refused() {
    let text = with_containers(
        "        - name: app\n          image: &i app:v1.2.0\n          env:\n            - {name: IMAGE, value: *i}\n",
    );
    assert_eq!(refusal(&text), Refusal::ChangesMore("/spec/template/spec/containers/0/env/0/value".into()));
    let list = format!(
        "{HEAD}spec:\n  template:\n    spec:\n      containers: &c\n        - {{name: app, image: app:v1.2.0}}\nx: *c\n"
    );
    assert!(matches!(refusal(&list), Refusal::ChangesMore(_)));
}

#[test]
fn escapes_and_folded_lines_are_refused() {
    let style = Refusal::Style("/spec/template/spec/containers/0/image".into());
    assert_eq!(refusal(&with_image("\"app\\x3av1.2.0\"")), style);
    let outcome = manifest(
        with_image("app\n            v2").as_bytes(),
        &images(&[("app", "app v2")]),
        &images(&[("app", "app")]),
    );
    assert_eq!(outcome, Outcome::Refused(style));
}

#[test]
fn templates_are_refused() {
    for image in ["{{ .Values.image }}", "\"{{ .Values.image }}:v1.2.0\"", "app:{{ .Values.tag }}"] {
        assert_eq!(refusal(&with_image(image)), Refusal::Template, "{image}");
    }
    let text = format!("{}{{{{- if .Values.x }}}}\n{{{{- end }}}}\n", with_image("app:v1.2.0"));
    assert_eq!(refusal(&text), Refusal::Template);
}

#[test]
fn duplicates_are_refused_wherever_they_stand() {
    let twice =
        with_containers("        - name: app\n          image: app:v1.2.0\n          image: app:v1.2.0\n");
    assert_eq!(refusal(&twice), Refusal::DuplicateKey("image".into()));
    let label = with_image("app:v1.2.0").replace("metadata:\n", "metadata:\n  labels: {a: b, a: c}\n");
    assert_eq!(refusal(&label), Refusal::DuplicateKey("a".into()));
    let container = "        - {name: app, image: app:v1.2.0}\n";
    assert_eq!(refusal(&with_containers(&container.repeat(2))), Refusal::Ambiguous("container `app`".into()));
    let document = with_image("app:v1.2.0");
    assert_eq!(refusal(&format!("{document}---\n{document}")), Refusal::Ambiguous("Rollout `myapp`".into()));
}

#[test]
fn what_is_not_there_is_named() {
    assert_eq!(refusal(""), Refusal::NotFound("Rollout `myapp`".into()));
    assert_eq!(refusal("kind: List\nitems: []\n"), Refusal::NotFound("Rollout `myapp`".into()));
    assert_eq!(refusal(&format!("{HEAD}spec: {{}}\n")), Refusal::NotFound("`/spec/template`".into()));
    assert_eq!(
        refusal(&with_containers("        - name: web\n          image: app:v1.2.0\n")),
        Refusal::NotFound("container `app`".into())
    );
    assert_eq!(refusal(&format!("{HEAD}spec: 7\n")), Refusal::Shape("/spec".into()));
    assert_eq!(refusal("- a\n- b\n"), Refusal::RootSequence);
}

#[test]
fn bytes_that_are_no_manifest_are_refused() {
    let (bad, good) = (images(&[("app", "a:2")]), images(&[("app", "a:1")]));
    assert_eq!(manifest(b"\xff\xfe\x00", &bad, &good), Outcome::Refused(Refusal::NotText));
    let large = vec![b'#'; MAX_FILE_BYTES + 1];
    assert_eq!(manifest(&large, &bad, &good), Outcome::Refused(Refusal::TooLarge(MAX_FILE_BYTES + 1)));
    let deep = format!("a: {}", "[".repeat(5000));
    assert!(matches!(refusal(&deep), Refusal::Unreadable(_)));
    assert!(matches!(refusal("a: [b\nc: d"), Refusal::Unreadable(_)));
}

#[test]
fn versions_that_differ_in_more_than_images_are_refused() {
    let text = with_image("app:v1.2.0");
    let (both, one) = (images(&[("app", "app:v1.2.0"), ("new", "n:1")]), images(&[("app", "app:v1.1.0")]));
    let differ = Outcome::Refused(Refusal::ContainersDiffer("new".into()));
    assert_eq!(manifest(text.as_bytes(), &both, &one), differ);
    assert_eq!(manifest(text.as_bytes(), &one, &both), differ);
    assert_eq!(manifest(text.as_bytes(), &one, &one), Outcome::Refused(Refusal::SameImages));
}

fn kustomize(text: &str, name: Option<&str>, bad: &str, good: &str) -> Outcome {
    let (bad, good) = (version(&images(&[("app", bad)])), version(&images(&[("app", good)])));
    restore(text.as_bytes(), &Change { target: Target::KustomizeImage { name }, bad: &bad, good: &good })
}

#[test]
fn an_edit_that_would_make_a_third_version_is_refused() {
    let hash = |text: &str| {
        let rollout: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        crate::api::hash::template_hash(&rollout["spec"]["template"], None).unwrap()
    };
    let with_env = |image: &str, level: &str| {
        with_containers(&format!(
            "        - name: app\n          image: {image}\n          env: [{{name: L, value: {level}}}]\n"
        ))
    };
    let (stable, failed) = (with_env("app:v1.1.0", "info"), with_env("app:v1.2.0", "debug"));
    let third = with_env("app:v1.1.0", "debug");
    let bad = Version { hash: hash(&failed), images: images(&[("app", "app:v1.2.0")]) };
    let good = Version { hash: hash(&stable), images: images(&[("app", "app:v1.1.0")]) };
    let change = Change { target: TARGET, bad: &bad, good: &good };
    let refused = Outcome::Refused(Refusal::ThirdVersion(hash(&third)));
    assert_eq!(restore(failed.as_bytes(), &change), refused);
    // The same file when only the image had changed.
    let other = Version { hash: hash(&third), ..good.clone() };
    let change = Change { good: &other, ..change };
    assert!(matches!(restore(failed.as_bytes(), &change), Outcome::Edited { .. }));
    // What reaches the cluster is not the file alone: nothing can be said.
    let elsewhere = Version { hash: "other".into(), ..bad.clone() };
    let change = Change { target: TARGET, bad: &elsewhere, good: &good };
    assert!(matches!(restore(failed.as_bytes(), &change), Outcome::Edited { .. }));
}

#[test]
fn a_kustomization_has_its_tag_restored() {
    let text = "resources: [rollout.yaml]\nimages:\n  # ours\n  - name: app\n    newTag: v1.2.0 # tag\n  - name: b\n    newTag: v1.2.0\n";
    let Outcome::Edited { bytes, .. } = kustomize(text, None, "app:v1.2.0", "app:v1.1.0") else {
        panic!("not edited");
    };
    assert_eq!(String::from_utf8(bytes).unwrap(), text.replacen("v1.2.0", "v1.1.0", 1));
    let named = "images:\n  - name: placeholder\n    newName: r.example:5000/app\n    newTag: \"1.20\"\n";
    let outcome = kustomize(named, Some("placeholder"), "r.example:5000/app:1.20", "r.example:5000/app:1.10");
    let Outcome::Edited { bytes, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(String::from_utf8(bytes).unwrap(), named.replace("1.20", "1.10"));
    let back = kustomize(named, Some("placeholder"), "r.example:5000/app:1.30", "r.example:5000/app:1.20");
    assert_eq!(back, Outcome::AlreadyGood);
    let moved = "images:\n  - name: app\n    newName: new.example/app\n    newTag: v2\n";
    let Outcome::Edited { bytes, .. } = kustomize(moved, None, "new.example/app:v2", "old.example/app:v1")
    else {
        panic!("not edited");
    };
    let expected = moved.replace("new.example", "old.example").replace("v2", "v1");
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    let pinned = "images:\n  - name: app\n    digest: sha256:bb\n";
    let Outcome::Edited { bytes, .. } = kustomize(pinned, None, "app@sha256:bb", "app@sha256:aa") else {
        panic!("not edited");
    };
    assert_eq!(String::from_utf8(bytes).unwrap(), pinned.replace("bb", "aa"));
}

#[test]
fn a_kustomization_that_makes_something_else_of_the_image_is_not_edited() {
    // The tag is the failed one, but of another repository: restoring it would make a third image.
    let elsewhere = "images:\n  - name: app\n    newName: mirror.example/app\n    newTag: v2\n";
    let third = Outcome::ThirdValue { container: "app".into(), found: "mirror.example/app".into() };
    assert_eq!(kustomize(elsewhere, Some("app"), "app:v2", "app:v1"), third);
    let form = Outcome::Refused(Refusal::FormDiffers("app".into()));
    for text in [
        "images:\n  - name: placeholder\n    newTag: v2\n",
        "images:\n  - name: placeholder\n    newName: app\n    newTag: v2\n    digest: sha256:aa\n",
        "images:\n  - name: placeholder\n    newName: app\n    newTag: v2\n    tagSuffix: -debug\n",
    ] {
        assert_eq!(kustomize(text, Some("placeholder"), "app:v2", "app:v1"), form, "{text}");
    }
}

#[test]
fn a_kustomization_that_says_it_in_another_form_is_refused() {
    let text = "images:\n  - name: app\n    newTag: v2\n";
    let form = Outcome::Refused(Refusal::FormDiffers("app".into()));
    assert_eq!(kustomize(text, None, "app:v2", "app@sha256:aa"), form);
    assert_eq!(kustomize("images:\n  - name: app\n    digest: sha256:bb\n", None, "app:v2", "app:v1"), form);
    assert_eq!(
        kustomize("images: []\n", None, "app:v2", "app:v1"),
        Outcome::Refused(Refusal::NotFound("entry of `images` for `app`".into()))
    );
}
