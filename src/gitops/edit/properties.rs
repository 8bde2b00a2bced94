use proptest::prelude::*;

use super::{
    tests::{TARGET, version},
    *,
};
use crate::api::serin::Images;

/// How a line may be dressed up without changing what it says.
#[derive(Clone, Debug)]
struct Dress {
    quote: &'static str,
    comment: &'static str,
    above: &'static str,
    crlf: bool,
    mark: bool,
    key: &'static str,
    before: &'static str,
    after: &'static str,
    flow: bool,
}

fn dress() -> impl Strategy<Value = Dress> {
    let pick = |of: &'static [&'static str]| prop::sample::select(of);
    (
        pick(&["", "'", "\""]),
        pick(&["", " # note", "   # image: app:v1.2.0", "\t#x"]),
        pick(&["", "# image: app:v1.2.0\n", "\n\n", "#é ☃ 𝄞\n"]),
        any::<bool>(),
        any::<bool>(),
        pick(&["image:", "\"image\":", "'image':", "image :", "image:   "]),
        pick(&["", "---\n", "# first\n---\n", "a: 1\n---\n", "{a: [1, 2]}\n---\n", "%YAML 1.2\n---\n"]),
        pick(&["", "---\n", "...\n", "---\na: |\n  image: app:v1.2.0\n", "---\n- 1\n", "# end"]),
        any::<bool>(),
    )
        .prop_map(|(quote, comment, above, crlf, mark, key, before, after, flow)| Dress {
            quote,
            comment,
            above,
            crlf,
            mark,
            key,
            before,
            after,
            flow,
        })
}

/// A manifest in that dress, cut where the version stands.
fn manifest(dress: &Dress) -> (String, String) {
    let Dress { quote, comment, above, key, before, after, .. } = dress;
    let head = format!(
        "{before}apiVersion: argoproj.io/v1alpha1\nkind: Rollout\n{above}metadata: {{name: myapp}}\n\
         spec:\n  template:\n    spec:\n      containers:\n"
    );
    let (head, tail) = if dress.flow {
        (format!("{head}      - {{name: app, {key} {quote}app:"), format!("{quote}}}{comment}\n{after}"))
    } else {
        (
            format!("{head}      - name: app{comment}\n{above}        {key} {quote}app:"),
            format!("{quote}{comment}\n        ports: []\n{after}"),
        )
    };
    let ends = |text: String| if dress.crlf { text.replace('\n', "\r\n") } else { text };
    (format!("{}{}", if dress.mark { "\u{feff}" } else { "" }, ends(head)), ends(tail))
}

fn app(tag: &str) -> Version {
    version(&Images::from([("app".to_owned(), format!("app:{tag}"))]))
}

proptest! {
    #[test]
    fn the_version_and_nothing_else_changes_or_nothing_is_edited(dress in dress()) {
        let (head, tail) = manifest(&dress);
        let (bad, good) = (app("v1.2.0"), app("v1.1.0"));
        let change =
            Change { target: TARGET, bad: &bad, good: &good };
        let outcome = restore(format!("{head}v1.2.0{tail}").as_bytes(), &change);
        // The one thing in the alphabet that has to be refused.
        if dress.after.contains("- 1") {
            prop_assert_eq!(outcome, Outcome::Refused(Refusal::RootSequence));
            return Ok(());
        }
        let pointer = "/spec/template/spec/containers/0/image".to_owned();
        let edit = Edit { pointer, before: "app:v1.2.0".into(), after: "app:v1.1.0".into() };
        let bytes = format!("{head}v1.1.0{tail}").into_bytes();
        prop_assert_eq!(outcome, Outcome::Edited { bytes, edits: vec![edit] });
    }

    #[test]
    fn no_text_makes_it_panic_and_an_edit_is_always_undone_by_its_opposite(text in "[ -~\n\t&*{}\\[\\]:#|>'\"é-]{0,200}") {
        let (bad, good) = (app("v1.2.0"), app("v1.1.0"));
        let head = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: myapp}\nspec:\n  template:\n    \
                    spec:\n      containers:\n      - name: app\n        image: app:v1.2.0\n        ";
        let whole = format!("{head}{text}");
        if let Outcome::Edited { bytes, .. } = restore(whole.as_bytes(), &Change { target: TARGET, bad: &bad, good: &good }) {
            let back = restore(&bytes, &Change { target: TARGET, bad: &good, good: &bad });
            let undone = matches!(back, Outcome::Edited { bytes, .. } if bytes == whole.as_bytes());
            prop_assert!(undone);
        }
    }
}
