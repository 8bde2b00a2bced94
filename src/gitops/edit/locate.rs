//! Finds the values that hold a version in the tree of a file. Pure.

use granit_parser::ScalarStyle;

use super::{
    Change, Refusal, Target,
    tree::{Node, Scalar, Unreadable, documents},
};

/// A scalar that holds (part of) a version, and what it should and should not be.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) container: String,
    pub(super) pointer: String,
    pub(super) scalar: Scalar,
    pub(super) bad: String,
    pub(super) good: String,
}

/// Every scalar that the change is about. Never empty.
pub(super) fn places(body: &str, change: &Change<'_>) -> Result<Vec<Place>, Refusal> {
    let wanted = differing(change)?;
    let documents = documents(body).map_err(|e| match e {
        // A template that is not YAML before it was rendered says so by its braces.
        Unreadable::Syntax(_) if body.contains("{{") => Refusal::Template,
        Unreadable::Syntax(message) => Refusal::Unreadable(message),
        Unreadable::TooDeep => Refusal::Unreadable("nested too deep".into()),
        Unreadable::TooLarge => Refusal::Unreadable("too many values".into()),
    })?;
    if documents.iter().any(|document| matches!(document, Node::Sequence(_))) {
        return Err(Refusal::RootSequence);
    }
    match change.target {
        Target::Manifest { namespace, name } => {
            let rollout = one(&documents, &format!("Rollout `{name}`"), |d| is_rollout(d, namespace, name))?;
            check_mappings(rollout)?;
            wanted.into_iter().map(|wanted| in_template(rollout, wanted)).collect()
        }
        Target::KustomizeImage { name } => {
            let file = one(&documents, "kustomization", |d| d.entry("images").is_some())?;
            check_mappings(file)?;
            let mut places = vec![];
            for wanted in wanted {
                for place in in_kustomization(file, &wanted, name)? {
                    // Containers that share an image share its entry.
                    if !places.iter().any(|p: &Place| p.pointer == place.pointer && p.good == place.good) {
                        places.push(place);
                    }
                }
            }
            Ok(places)
        }
    }
}

/// A container whose image differs between the two versions.
struct Wanted {
    container: String,
    bad: String,
    good: String,
}

fn differing(change: &Change<'_>) -> Result<Vec<Wanted>, Refusal> {
    let (bad, good) = (&change.bad.images, &change.good.images);
    let only_one = |c: &&String| !(bad.contains_key(*c) && good.contains_key(*c));
    if let Some(container) = bad.keys().chain(good.keys()).find(only_one) {
        return Err(Refusal::ContainersDiffer(container.clone()));
    }
    let wanted: Vec<_> = bad
        .iter()
        .zip(good.values())
        .filter(|((_, bad), good)| bad != good)
        .map(|((container, bad), good)| Wanted {
            container: container.clone(),
            bad: bad.clone(),
            good: good.clone(),
        })
        .collect();
    if wanted.is_empty() { Err(Refusal::SameImages) } else { Ok(wanted) }
}

fn one<'a>(documents: &'a [Node], what: &str, is: impl Fn(&Node) -> bool) -> Result<&'a Node, Refusal> {
    let mut found = documents.iter().filter(|document| is(document));
    match (found.next(), found.next()) {
        (Some(document), None) => Ok(document),
        (Some(_), Some(_)) => Err(Refusal::Ambiguous(what.into())),
        (None, _) => Err(Refusal::NotFound(what.into())),
    }
}

fn is_rollout(document: &Node, namespace: &str, name: &str) -> bool {
    let text = |node: Option<&Node>| node.and_then(Node::text).map(str::to_owned);
    let metadata = document.entry("metadata");
    text(document.entry("apiVersion")).is_some_and(|v| v.starts_with("argoproj.io/"))
        && text(document.entry("kind")).as_deref() == Some("Rollout")
        && text(metadata.and_then(|m| m.entry("name"))).as_deref() == Some(name)
        && text(metadata.and_then(|m| m.entry("namespace"))).is_none_or(|n| n == namespace)
}

/// Refuses what makes "the value of a key" unclear anywhere in the document: duplicate keys, and keys that are no
/// scalars, which is how an unrendered `{{ template }}` reads.
fn check_mappings(node: &Node) -> Result<(), Refusal> {
    match node {
        Node::Scalar(_) | Node::Alias => Ok(()),
        Node::Sequence(items) => items.iter().try_for_each(check_mappings),
        Node::Mapping(entries) => {
            let mut seen = std::collections::BTreeSet::new();
            for (key, value) in entries {
                let Some(name) = key.text() else {
                    return Err(Refusal::Template);
                };
                if !seen.insert(name) {
                    return Err(Refusal::DuplicateKey(name.into()));
                }
                check_mappings(value)?;
            }
            Ok(())
        }
    }
}

/// The value of `key` in a mapping that stands at `at`. `None` where the key is absent.
fn below<'a>(node: &'a Node, at: &str, key: &str) -> Result<Option<&'a Node>, Refusal> {
    match node {
        Node::Alias => Err(Refusal::Alias(at.into())),
        Node::Mapping(_) if node.entry("<<").is_some() => Err(Refusal::MergeKey(at.into())),
        Node::Mapping(_) => Ok(node.entry(key)),
        Node::Scalar(_) | Node::Sequence(_) => Err(Refusal::Shape(at.into())),
    }
}

/// The items of the list `key`; none where it is absent.
fn items<'a>(node: &'a Node, at: &str, key: &str) -> Result<&'a [Node], Refusal> {
    match below(node, at, key)? {
        None => Ok(&[]),
        Some(Node::Sequence(items)) => Ok(items),
        Some(Node::Alias) => Err(Refusal::Alias(format!("{at}/{key}"))),
        Some(Node::Scalar(_) | Node::Mapping(_)) => Err(Refusal::Shape(format!("{at}/{key}"))),
    }
}

fn scalar(node: &Node, at: &str) -> Result<Scalar, Refusal> {
    match node {
        Node::Scalar(scalar) => match scalar.style {
            ScalarStyle::Literal | ScalarStyle::Folded => Err(Refusal::Style(at.into())),
            ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Ok(scalar.clone()),
        },
        Node::Alias => Err(Refusal::Alias(at.into())),
        Node::Mapping(_) | Node::Sequence(_) => Err(Refusal::Shape(at.into())),
    }
}

fn in_template(rollout: &Node, wanted: Wanted) -> Result<Place, Refusal> {
    let (mut node, mut at) = (rollout, String::new());
    for key in ["spec", "template", "spec"] {
        let next = below(node, &at, key)?;
        at = format!("{at}/{key}");
        node = next.ok_or_else(|| Refusal::NotFound(format!("`{at}`")))?;
    }
    let mut found = vec![];
    for list in ["containers", "initContainers"] {
        for (index, container) in items(node, &at, list)?.iter().enumerate() {
            let here = format!("{at}/{list}/{index}");
            if below(container, &here, "name")?.and_then(Node::text) == Some(&wanted.container) {
                found.push((container, here));
            }
        }
    }
    let what = format!("container `{}`", wanted.container);
    let (container, here) = match found.as_slice() {
        [] => return Err(Refusal::NotFound(what)),
        [one] => one,
        [_, _, ..] => return Err(Refusal::Ambiguous(what)),
    };
    let image = below(container, here, "image")?;
    let pointer = format!("{here}/image");
    let image = image.ok_or_else(|| Refusal::NotFound(format!("`{pointer}`")))?;
    let scalar = scalar(image, &pointer)?;
    let Wanted { container, bad, good } = wanted;
    Ok(Place { container, pointer, scalar, bad, good })
}

/// An image reference in its parts.
#[derive(Debug, PartialEq, Eq)]
struct Image<'a> {
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

fn image(text: &str) -> Image<'_> {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    // A colon before the last slash belongs to the registry's port.
    match rest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => Image { repository, tag: Some(tag), digest },
        Some(_) | None => Image { repository: rest, tag: None, digest },
    }
}

fn in_kustomization(file: &Node, wanted: &Wanted, name: Option<&str>) -> Result<Vec<Place>, Refusal> {
    let (bad, good) = (image(&wanted.bad), image(&wanted.good));
    let mut found = vec![];
    for (index, entry) in items(file, "", "images")?.iter().enumerate() {
        let at = format!("/images/{index}");
        let text = |key| below(entry, &at, key).map(|node| node.and_then(Node::text));
        let (own, new) = (text("name")?, text("newName")?);
        let meant = match name {
            Some(name) => own == Some(name),
            None => {
                own == Some(bad.repository) || new == Some(bad.repository) || new == Some(good.repository)
            }
        };
        if meant {
            found.push((entry, at));
        }
    }
    let what = format!("entry of `images` for `{}`", name.unwrap_or(bad.repository));
    let (entry, at) = match found.as_slice() {
        [] => return Err(Refusal::NotFound(what)),
        [one] => one,
        [_, _, ..] => return Err(Refusal::Ambiguous(what)),
    };
    let form = || Refusal::FormDiffers(wanted.container.clone());
    // A suffix is part of the tag that reaches the cluster and stands nowhere in `newTag`.
    if below(entry, at, "tagSuffix")?.is_some() {
        return Err(form());
    }
    let own = below(entry, at, "name")?.and_then(Node::text);
    let parts = [
        ("newName", Some(bad.repository), Some(good.repository)),
        ("newTag", bad.tag, good.tag),
        ("digest", bad.digest, good.digest),
    ];
    let mut places = vec![];
    for (key, bad, good) in parts {
        match (below(entry, at, key)?, bad, good) {
            // Also where the two versions agree: what holds neither is a third value.
            (Some(node), Some(bad), Some(good)) => {
                let pointer = format!("{at}/{key}");
                let scalar = scalar(node, &pointer)?;
                let container = wanted.container.clone();
                places.push(Place { container, pointer, scalar, bad: bad.into(), good: good.into() });
            }
            // The name is the entry's own, and the same tag or digest may stand in the manifest.
            (None, Some(bad), Some(good)) if bad == good && (key != "newName" || own == Some(bad)) => {}
            (None, None, None) => {}
            (_, Some(_), None) | (_, None, Some(_)) | (None, Some(_), Some(_)) | (Some(_), None, None) => {
                return Err(form());
            }
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_splits_at_tag_and_digest_and_not_at_the_port() {
        let parts = |text| {
            let Image { repository, tag, digest } = image(text);
            (repository, tag, digest)
        };
        assert_eq!(parts("app"), ("app", None, None));
        assert_eq!(parts("r.example:5000/a/app:v1"), ("r.example:5000/a/app", Some("v1"), None));
        assert_eq!(parts("r.example:5000/app"), ("r.example:5000/app", None, None));
        assert_eq!(parts("app:v1@sha256:aa"), ("app", Some("v1"), Some("sha256:aa")));
    }
}
