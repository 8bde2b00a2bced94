//! `fields.txt` as a value: which fields the typed objects have, in which order, and what each holds.
//!
//! A struct's name stands at the margin; its fields follow, each indented: JSON name, kind, flags. Kinds: `string`,
//! `label` (a string of a map that never holds null), `bool`, `int32`, `int64`, `quantity`, `intstr` (int or string), `time` (RFC 3339), `raw` (any JSON) or a struct,
//! behind any of `*` (absent is not the same as zero), `[]` and `{}` (map with string keys). Flags: `!` is
//! written even when empty, `0` is left out when zero although it is a struct, `=` and JSON is what an absent one is
//! stored as. Embedded structs are spread out.
//!
//! The rows were listed by reflection from k8s.io/api v0.34.5 and the v1alpha1 types of Argo Rollouts v1.10.2. By hand:
//! the `=` flags, `label` and the two fields of a template's metadata, which are what the upstream CRD fills in and keeps. On a
//! cluster with that CRD the hash is taken of what it stored; with our own, which keeps everything, it must be the same.

use std::{collections::BTreeMap, sync::LazyLock};

const TEXT: &str = include_str!("fields.txt");

/// A string in a map from which the API server drops what is null.
pub const LABEL: &str = "label";

/// What a field holds. Behind a pointer, in a list or a map: the kind of what is there, as [`kind`] reads it.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text,
    Bool,
    Int32,
    Int64,
    Quantity,
    IntOrString,
    Time,
    Raw,
    Struct(&'static Struct),
    Pointer(&'static str),
    List(&'static str),
    Map(&'static str),
}

/// A struct of the Kubernetes or Argo API.
#[derive(Debug)]
pub struct Struct {
    pub name: &'static str,
    /// In declaration order.
    pub fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: &'static str,
    /// Written even when empty.
    pub is_required: bool,
    /// Left out when zero, although it is not a pointer.
    pub omits_zero: bool,
    /// What the upstream CRD stores where the field is absent.
    pub stored: Stored,
}

/// What the upstream CRD stores where a field is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Nothing,
    Text(&'static str),
    False,
}

static STRUCTS: LazyLock<BTreeMap<&'static str, Struct>> = LazyLock::new(|| read(TEXT));

/// The struct of a name.
pub fn find(name: &str) -> Option<&'static Struct> {
    STRUCTS.get(name)
}

/// Reads a table.
pub fn read(text: &'static str) -> BTreeMap<&'static str, Struct> {
    let mut structs = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), rest) = (words.next(), words) else { continue };
        if !line.starts_with(' ') {
            current = Some(name);
            structs.insert(name, Struct { name, fields: vec![] });
        } else if let Some(open) = current.and_then(|open| structs.get_mut(open)) {
            open.fields.extend(field(name, rest));
        }
    }
    structs
}

fn field(name: &'static str, mut rest: std::str::SplitWhitespace<'static>) -> Option<Field> {
    let kind = rest.next()?;
    let mut field = Field { name, kind, is_required: false, omits_zero: false, stored: Stored::Nothing };
    for flag in rest {
        match flag {
            "!" => field.is_required = true,
            "0" => field.omits_zero = true,
            "=false" => field.stored = Stored::False,
            text => {
                let quoted = text.strip_prefix("=\"").and_then(|text| text.strip_suffix('"'));
                field.stored = quoted.map_or(Stored::Nothing, Stored::Text);
            }
        }
    }
    Some(field)
}

/// Reads a kind as `fields.txt` spells it. A struct that is not in the table reads as `raw`; a test says there is none.
pub fn kind(text: &'static str) -> Kind {
    for (prefix, of) in [("*", Kind::Pointer as fn(_) -> _), ("[]", Kind::List), ("{}", Kind::Map)] {
        if let Some(inner) = text.strip_prefix(prefix) {
            return of(inner);
        }
    }
    match text {
        "string" | LABEL => Kind::Text,
        "bool" => Kind::Bool,
        "int32" => Kind::Int32,
        "int64" => Kind::Int64,
        "quantity" => Kind::Quantity,
        "intstr" => Kind::IntOrString,
        "time" => Kind::Time,
        "raw" => Kind::Raw,
        name => STRUCTS.get(name).map_or(Kind::Raw, Kind::Struct),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_known_kind_and_every_struct_is_used() {
        let mut used = vec!["PodTemplateSpec", "CanaryStep"];
        for known in STRUCTS.values() {
            assert!(!known.fields.is_empty(), "{} has no fields", known.name);
            for field in &known.fields {
                let bare = field.kind.trim_start_matches(['*', '[', ']', '{', '}']);
                assert!(bare == "raw" || !matches!(kind(bare), Kind::Raw), "{}.{}", known.name, field.name);
                used.push(bare);
            }
        }
        let unused: Vec<_> = STRUCTS.keys().filter(|name| !used.contains(name)).collect();
        assert!(unused.is_empty(), "{unused:?}");
        let stored =
            STRUCTS.values().flat_map(|known| &known.fields).filter(|field| field.stored != Stored::Nothing);
        assert_eq!(stored.count(), 3);
        let rows = STRUCTS.values().map(|known| known.fields.len() + 1).sum::<usize>();
        assert_eq!(rows, TEXT.lines().count());
    }
}
