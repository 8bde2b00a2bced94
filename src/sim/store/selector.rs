//! Label and field selectors of lists and watches.

use serde_json::Value;

use super::validate::{LABEL_VALUE, is_word};

/// Which objects a list or watch is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selectors {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq)]
enum Operator {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
struct FieldRequirement {
    pointer: String,
    value: String,
    equal: bool,
}

impl Selectors {
    /// Reads `labelSelector` and `fieldSelector`. `labels` are the fields the kind supports besides name and
    /// namespace, in dotted form.
    ///
    /// # Errors
    /// The text of a 400.
    pub fn parse(labels: &str, fields: &str, supported: &[&str]) -> Result<Self, String> {
        Ok(Self { labels: requirements(labels)?, fields: field_requirements(fields, supported)? })
    }

    /// A selector out of `matchLabels` and `matchExpressions`; `None` where the object is not one.
    pub fn of_object(selector: &Value) -> Option<Self> {
        let selector = selector.as_object()?;
        let mut labels = vec![];
        if let Some(wanted) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in wanted {
                let value = value.as_str()?.to_owned();
                labels.push(Requirement { key: key.clone(), operator: Operator::In(vec![value]) });
            }
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let key = expression.get("key")?.as_str()?.to_owned();
            let values: Vec<String> = expression
                .get("values")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect();
            let operator = match expression.get("operator")?.as_str()? {
                "In" => Operator::In(values),
                "NotIn" => Operator::NotIn(values),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::Absent,
                _ => return None,
            };
            labels.push(Requirement { key, operator });
        }
        Some(Self { labels, fields: vec![] })
    }

    /// A selector out of a plain map of labels, as Services have it.
    pub fn of_map(labels: &serde_json::Map<String, Value>) -> Self {
        let labels = labels
            .iter()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In(vec![value.as_str().unwrap_or_default().to_owned()]),
            })
            .collect();
        Self { labels, fields: vec![] }
    }

    /// True where nothing is excluded.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// True where the object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.labels.iter().all(|requirement| {
            let live = labels.and_then(|labels| labels.get(&requirement.key)).and_then(Value::as_str);
            match &requirement.operator {
                Operator::Exists => live.is_some(),
                Operator::Absent => live.is_none(),
                Operator::In(values) => live.is_some_and(|live| values.iter().any(|value| value == live)),
                Operator::NotIn(values) => !live.is_some_and(|live| values.iter().any(|value| value == live)),
            }
        }) && self.fields.iter().all(|requirement| {
            let live = object.pointer(&requirement.pointer).and_then(Value::as_str).unwrap_or_default();
            (live == requirement.value) == requirement.equal
        })
    }
}

/// Splits at commas outside of parentheses.
fn clauses(text: &str) -> Vec<&str> {
    let mut found = vec![];
    let (mut depth, mut start) = (0_i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found.into_iter().map(str::trim).filter(|clause| !clause.is_empty()).collect()
}

fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    clauses(text).into_iter().map(requirement).collect()
}

fn requirement(clause: &str) -> Result<Requirement, String> {
    const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";
    let expected =
        |found: &str, what: &str| format!("unable to parse requirement: found '{found}', expected: {what}");
    let equal = |value: &str| vec![value.trim().to_owned()];
    let (key, operator) = if let Some(key) = clause.strip_prefix('!') {
        (key, Operator::Absent)
    } else if let Some((key, value)) = clause.split_once("!=") {
        (key, Operator::NotIn(equal(value)))
    } else if let Some((key, value)) = clause.split_once("==").or_else(|| clause.split_once('=')) {
        (key, Operator::In(equal(value)))
    } else if let Some((head, values)) = clause.split_once('(') {
        let (key, word) = head.trim().rsplit_once(char::is_whitespace).unwrap_or((head, ""));
        if !["in", "notin"].contains(&word) {
            return Err(expected(word, OPERATORS));
        }
        let values = values.strip_suffix(')').ok_or_else(|| expected("", "',' or ')'"))?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        (key, if word == "in" { Operator::In(values) } else { Operator::NotIn(values) })
    } else {
        (clause, Operator::Exists)
    };
    let key = key.trim();
    if key.is_empty() {
        return Err("found '=', expected: !, identifier, or 'end of string'".to_owned());
    }
    if let Some((_, word)) = key.split_once(char::is_whitespace) {
        return Err(expected(word.trim(), OPERATORS));
    }
    if let Operator::In(values) | Operator::NotIn(values) = &operator {
        let wrong = values.iter().enumerate().find(|(_, value)| !value.is_empty() && !is_word(value));
        if let Some((at, value)) = wrong {
            let why = format!("values[{at}][{key}]: Invalid value: {value:?}: {LABEL_VALUE}");
            return Err(format!("unable to parse requirement: {why}"));
        }
    }
    Ok(Requirement { key: key.to_owned(), operator })
}

fn field_requirements(text: &str, supported: &[&str]) -> Result<Vec<FieldRequirement>, String> {
    let mut found = vec![];
    for clause in clauses(text) {
        let (field, value, equal) = if let Some((field, value)) = clause.split_once("!=") {
            (field, value, false)
        } else if let Some((field, value)) = clause.split_once("==").or_else(|| clause.split_once('=')) {
            (field, value, true)
        } else {
            return Err(format!("invalid selector: '{text}'; can't understand '{clause}'"));
        };
        let field = field.trim();
        if !["metadata.name", "metadata.namespace"].contains(&field) && !supported.contains(&field) {
            // A kind without fields of its own knows the two that all have.
            return Err(if supported.is_empty() {
                format!(
                    "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )
            } else {
                format!("field label not supported: {field}")
            });
        }
        let pointer = format!("/{}", field.replace('.', "/"));
        found.push(FieldRequirement { pointer, value: value.trim().to_owned(), equal });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_select_as_the_server_does() {
        let object = json!({"metadata": {"name": "a", "labels": {"app": "shop", "tier": "web"}}});
        for (selector, selected) in [
            ("app=shop", true),
            ("app==shop,tier!=db", true),
            ("app!=shop", false),
            ("missing!=x", true),
            ("app in (cart, shop)", true),
            ("app notin (cart,shop),tier", false),
            ("missing notin (x)", true),
            ("tier,!missing", true),
            ("!tier", false),
            ("", true),
        ] {
            let parsed = Selectors::parse(selector, "", &[]).unwrap();
            assert_eq!(parsed.matches(&object), selected, "{selector}");
        }
        for wrong in ["app of (x)", "app in (x", "a b", "=x"] {
            assert!(Selectors::parse(wrong, "", &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn field_selectors_know_the_fields_of_their_kind() {
        let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Rollout", "name": "cart"}});
        let supported = ["involvedObject.name"];
        let parsed = Selectors::parse("", "involvedObject.name=cart,metadata.name!=x", &supported).unwrap();
        assert!(parsed.matches(&event));
        assert_eq!(
            Selectors::parse("", "spec.nodeName=x", &supported).unwrap_err(),
            "field label not supported: spec.nodeName"
        );
    }
}
