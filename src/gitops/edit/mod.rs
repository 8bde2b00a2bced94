//! Restores a version in a file: bytes and a change in, bytes out. No I/O, no clock.
//!
//! Only the text of the values themselves is replaced; every other byte stays: comments, quotes, line ends, byte
//! order mark, anchors. Before an edit is handed out it is proved: both texts are read again as values, and exactly
//! the expected values must differ. Where any doubt remains the edit is refused with a reason; nothing is guessed.

use std::ops::Range;

use granit_parser::ScalarStyle;
use serde_json::Value;

use crate::api::serin::Version;

mod locate;
mod proof;
mod tree;

use locate::Place;

/// Files above this size are refused, in bytes: manifests are a few KiB, and a reader of the diff is a person.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// What to restore in a file.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The value that holds the version.
    pub target: Target<'a>,
    /// The version that failed.
    pub bad: &'a Version,
    /// The version to go back to.
    pub good: &'a Version,
}

/// Which value of a file holds the version.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The images in the pod template of this Rollout's manifest.
    Manifest { namespace: &'a str, name: &'a str },
    /// The entries of `images` in a kustomization: the one called `name`, or the one of the image's repository.
    KustomizeImage { name: Option<&'a str> },
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The file with the version restored, and which values changed.
    Edited { bytes: Vec<u8>, edits: Vec<Edit> },
    /// Everything holds the good version already.
    AlreadyGood,
    /// A value holds neither the bad nor the good version: somebody went on.
    ThirdValue { container: String, found: String },
    /// It cannot be done safely.
    Refused(Refusal),
}

/// One value that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// JSON pointer below the document, for instance `/spec/template/spec/containers/0/image`.
    pub pointer: String,
    /// The text before, without quotes.
    pub before: String,
    /// The text after, without quotes.
    pub after: String,
}

/// Why a file is not edited. The text says what a person can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum Refusal {
    #[error("the file has {0} bytes; the most that is edited is {MAX_FILE_BYTES}")]
    TooLarge(usize),
    #[error("the file is not UTF-8 text")]
    NotText,
    #[error("the file is not readable YAML: {0}")]
    Unreadable(String),
    #[error(
        "the value is written by a template (`{{{{`); point the policy at the file that the value comes from"
    )]
    Template,
    #[error("the root of the file is a list; one object per document is expected")]
    RootSequence,
    #[error("the file has no {0}")]
    NotFound(String),
    #[error("the file has more than one {0}")]
    Ambiguous(String),
    #[error("the key `{0}` stands twice in one mapping; readers disagree on which one counts")]
    DuplicateKey(String),
    #[error("`{0}` is an alias (`*`); the value stands elsewhere and others may use it too")]
    Alias(String),
    #[error("`{0}` has a merge key (`<<`); the value may stand elsewhere")]
    MergeKey(String),
    #[error("`{0}` is not written on one line as plain or quoted text")]
    Style(String),
    #[error("`{0}` is not of the kind that the schema asks for")]
    Shape(String),
    #[error("the failed version and the good one differ in more than images: container `{0}` is not in both")]
    ContainersDiffer(String),
    #[error("the failed version and the good one have the same images; what differs is something else")]
    SameImages,
    #[error(
        "the failed version differs from the good one in more than images: the images alone would make a third \
         version, {0}; revert by hand"
    )]
    ThirdVersion(String),
    #[error("`{0}` is not an image reference that can be written without quoting rules")]
    UnsafeValue(String),
    #[error("the images differ in form (tag, digest or name) and the entry of `{0}` does not say which")]
    FormDiffers(String),
    #[error("the edit would change more than the version ({0}); an anchor is probably used elsewhere")]
    ChangesMore(String),
}

/// Restores the good version in the text of a file.
pub fn restore(bytes: &[u8], change: &Change<'_>) -> Outcome {
    match attempt(bytes, change) {
        Ok(outcome) => outcome,
        Err(refusal) => Outcome::Refused(refusal),
    }
}

fn attempt(bytes: &[u8], change: &Change<'_>) -> Result<Outcome, Refusal> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Refusal::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::NotText)?;
    // The mark is no part of the YAML; the places below count from after it.
    let mark = text.len() - text.trim_start_matches('\u{feff}').len();
    let body = text.get(mark..).unwrap_or_default();
    let places = locate::places(body, change)?;
    if let Some(third) = places.iter().find(|p| p.scalar.value != p.bad && p.scalar.value != p.good) {
        if third.scalar.value.contains("{{") {
            return Err(Refusal::Template);
        }
        return Ok(Outcome::ThirdValue {
            container: third.container.clone(),
            found: third.scalar.value.clone(),
        });
    }
    let wrong: Vec<&Place> = places.iter().filter(|p| p.scalar.value != p.good).collect();
    if wrong.is_empty() {
        return Ok(Outcome::AlreadyGood);
    }
    let mut splices = vec![];
    let mut edits = vec![];
    for place in wrong {
        splices.push((place.scalar.bytes.clone(), replacement(body, place)?));
        edits.push(Edit {
            pointer: place.pointer.clone(),
            before: place.scalar.value.clone(),
            after: place.good.clone(),
        });
    }
    let edited = splice(body, splices)?;
    proof::only_these_changed(body, &edited, &edits)?;
    proof::no_third_version(body, &edited, change)?;
    let mut whole = text.get(..mark).unwrap_or_default().to_owned();
    whole.push_str(&edited);
    Ok(Outcome::Edited { bytes: whole.into_bytes(), edits })
}

/// The text that takes the place of a scalar: the good value in the quotes that the old one had.
fn replacement(body: &str, place: &Place) -> Result<String, Refusal> {
    let good = &place.good;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    if good.is_empty() || !good.chars().all(plain) {
        return Err(Refusal::UnsafeValue(good.clone()));
    }
    let old = &place.scalar.value;
    let raw = body.get(place.scalar.bytes.clone()).unwrap_or_default();
    let style = || Refusal::Style(place.pointer.clone());
    // The raw text must be the value in its quotes: no escapes, no folded lines.
    match place.scalar.style {
        ScalarStyle::Plain if raw == old && is_text_when_plain(good) => Ok(good.clone()),
        ScalarStyle::Plain if raw == old => Ok(format!("\"{good}\"")),
        ScalarStyle::SingleQuoted if raw == format!("'{old}'") => Ok(format!("'{good}'")),
        ScalarStyle::DoubleQuoted if raw == format!("\"{old}\"") => Ok(format!("\"{good}\"")),
        ScalarStyle::Plain
        | ScalarStyle::SingleQuoted
        | ScalarStyle::DoubleQuoted
        | ScalarStyle::Literal
        | ScalarStyle::Folded => Err(style()),
    }
}

/// True where the text, without quotes, is read as text by YAML 1.1 and by YAML 1.2: it begins with a letter, is no
/// word for a truth value or for nothing, and does not end in a colon.
fn is_text_when_plain(text: &str) -> bool {
    const WORDS: &[&str] = &["y", "yes", "n", "no", "on", "off", "true", "false", "null"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Replaces each range of `body` by its text. Ranges that overlap are refused.
fn splice(body: &str, mut splices: Vec<(Range<usize>, String)>) -> Result<String, Refusal> {
    splices.sort_by_key(|(range, _)| range.start);
    let mut out = String::with_capacity(body.len());
    let mut done = 0;
    for (range, text) in splices {
        let kept = body.get(done..range.start);
        out.push_str(kept.ok_or_else(|| Refusal::ChangesMore("two values share their text".into()))?);
        out.push_str(&text);
        done = range.end;
    }
    out.push_str(body.get(done..).unwrap_or_default());
    Ok(out)
}

/// All documents of a text as values.
fn values(text: &str) -> Result<Vec<Value>, Refusal> {
    serde_saphyr::from_multiple(text).map_err(|e| Refusal::Unreadable(e.to_string()))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
