//! Lists in consistent pages, and where watches begin.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Answer, Store,
    history::{Event, EventKind, Key},
    in_version,
    resource::Resource,
    route::Target,
    selector::Selectors,
    status::{Cause, Refusal, about_options, bad_request, expired, internal, too_large},
};
use crate::api::http::{Method, Response};

/// A watch that was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    pub resource: Resource,
    /// The version the client speaks.
    pub version: &'static str,
    pub namespace: Option<String>,
    pub selectors: Selectors,
    /// The version it stands at.
    pub from: u64,
    /// The client named no version: it is told of every object that is there before anything else.
    pub initial: bool,
    /// The client wants BOOKMARK events.
    pub bookmarks: bool,
    pub timeout: Option<Duration>,
}

/// The query parameters of a list or watch.
pub(super) struct Query<'a>(pub(super) &'a [(String, String)]);

impl Query<'_> {
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1")
    }

    /// Refuses options that a request cannot have.
    pub(super) fn check(&self, method: Method) -> Result<(), Refusal> {
        let not_supported = |field: &str, shown: String, supported: &[&str]| {
            let supported: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
            let message = format!("Unsupported value: {shown}: supported values: {}", supported.join(", "));
            Cause { reason: "FieldValueNotSupported", message, field: field.to_owned() }
        };
        let kind = match method {
            Method::Get => return Ok(()),
            Method::Post => "CreateOptions",
            Method::Put => "UpdateOptions",
            Method::Patch => "PatchOptions",
            Method::Delete => "DeleteOptions",
        };
        let (dry, validation) = (self.text("dryRun"), self.text("fieldValidation"));
        let cause = if !["", "All"].contains(&dry) {
            not_supported("dryRun", json!([dry]).to_string(), &["All"])
        } else if !["", "Ignore", "Strict", "Warn"].contains(&validation) {
            not_supported("fieldValidation", format!("{validation:?}"), &["", "Ignore", "Strict", "Warn"])
        } else {
            return Ok(());
        };
        Err(about_options(kind, "meta.k8s.io", cause))
    }

    /// Refuses a combination of versions and pages that means nothing.
    fn check_list(&self) -> Result<(), Refusal> {
        let (version, matching) = (self.text("resourceVersion"), self.text("resourceVersionMatch"));
        if let Some(limit) =
            Some(self.text("limit")).filter(|limit| !limit.is_empty() && limit.parse::<i64>().is_err())
        {
            return Err(bad_request(&format!("strconv.ParseInt: parsing {limit:?}: invalid syntax")));
        }
        let options = |cause| Err(about_options("ListOptions", "meta.k8s.io", cause));
        if !matching.is_empty() && version.is_empty() {
            let message =
                "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided".into();
            return options(Cause {
                reason: "FieldValueForbidden",
                message,
                field: "resourceVersionMatch".into(),
            });
        }
        if !["", "Exact", "NotOlderThan"].contains(&matching) {
            let message = format!(
                "Unsupported value: {matching:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
            );
            return options(Cause {
                reason: "FieldValueNotSupported",
                message,
                field: "resourceVersionMatch".into(),
            });
        }
        if !self.text("continue").is_empty() && !["", "0"].contains(&version) {
            return Err(bad_request("specifying resource version is not allowed when using continue"));
        }
        Ok(())
    }

    pub(super) fn is_dry_run(&self) -> bool {
        !self.text("dryRun").is_empty()
    }
}

/// The fields a kind can be selected by, besides name and namespace.
const SELECTABLE: &[(Resource, &[&str])] = &[
    (
        Resource::Events,
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    (
        Resource::Pods,
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
    ),
    (Resource::Secrets, &["type"]),
    (Resource::Namespaces, &["status.phase"]),
    (Resource::ReplicaSets, &["status.replicas"]),
];

impl Store {
    /// Selectors out of a query.
    pub(super) fn selectors(target: &Target, query: &Query<'_>) -> Result<Selectors, Refusal> {
        let supported = SELECTABLE.iter().find(|(resource, _)| *resource == target.resource);
        let supported = supported.map(|(_, fields)| *fields).unwrap_or_default();
        Selectors::parse(query.text("labelSelector"), query.text("fieldSelector"), supported).map_err(
            |message| {
                let (asked, known) =
                    message.split_once(" is not a known field selector").unwrap_or((&message, ""));
                let custom = target.resource.definition().custom && !known.is_empty();
                bad_request(&if custom {
                    format!("field label not supported: {}", asked.trim_matches('"'))
                } else {
                    message
                })
            },
        )
    }

    pub(super) fn watch(&self, target: &Target, query: &Query<'_>) -> Result<Answer, Refusal> {
        let version = query.text("resourceVersion");
        let initial = version.is_empty() || version == "0";
        let from = match version.parse() {
            _ if initial => self.version(),
            Ok(from) => from,
            Err(_) => {
                let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
                return Err(internal(&format!("resourceVersion: Invalid value: {version:?}: {why}")));
            }
        };
        if query.text("sendInitialEvents") == "true" {
            return Err(bad_request("sendInitialEvents is not supported by this server"));
        }
        let mut selectors = Self::selectors(target, query)?;
        if let Some(name) = &target.name {
            selectors = Selectors::parse("", &format!("metadata.name={name}"), &[])
                .map_err(|message| bad_request(&message))?;
        }
        Ok(Answer::Watch(Watch {
            resource: target.resource,
            version: target.version,
            namespace: target.namespace.clone(),
            selectors,
            from,
            initial,
            bookmarks: query.is_set("allowWatchBookmarks"),
            timeout: query.text("timeoutSeconds").parse().ok().filter(|s| *s > 0).map(Duration::from_secs),
        }))
    }

    /// What a watch that named no version is told first.
    pub fn initial_events(&self, watch: &Watch) -> Vec<Event> {
        self.objects(watch.resource)
            .filter(|(key, object)| {
                watch.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
                    && watch.selectors.matches(object)
            })
            .map(|(_, object)| Event { kind: EventKind::Added, object: object.clone() })
            .collect()
    }

    pub(super) fn list(&self, target: &Target, query: &Query<'_>) -> Result<Response, Refusal> {
        let definition = target.resource.definition();
        query.check_list()?;
        let selectors = Self::selectors(target, query)?;
        let limit: usize = query.text("limit").parse().unwrap_or(0);
        let token = query.text("continue");
        let wanted = query.text("resourceVersion");
        if !wanted.is_empty() && token.is_empty() && read_version(wanted)? > self.version() {
            return Err(too_large(read_version(wanted)?, self.version()));
        }
        let (rv, after) = match token {
            "" => (self.version(), None),
            token => read_token(token).map(|(rv, key)| (rv, Some(key)))?,
        };
        let Some(snapshot) = self.snapshot(target.resource, target.namespace.as_deref(), rv) else {
            return Err(self.continue_is_too_old(after.as_ref()));
        };
        let selected: Vec<_> = snapshot
            .iter()
            .filter(|(key, object)| {
                after.as_ref().is_none_or(|after| **key > *after) && selectors.matches(object)
            })
            .collect();
        let page = if limit > 0 { limit.min(selected.len()) } else { selected.len() };
        let (page, rest) = selected.split_at(page);
        let mut metadata = json!({"resourceVersion": rv.to_string()});
        if let (Some((last, _)), false) = (page.last(), rest.is_empty()) {
            metadata["continue"] = json!(token_of(rv, last));
            if selectors.is_everything() {
                metadata["remainingItemCount"] = json!(rest.len());
            }
        } else if definition.custom {
            metadata["continue"] = json!("");
        }
        let items: Vec<_> = page
            .iter()
            .map(|(_, object)| {
                let mut item = in_version(object, definition, target.version);
                if let Some(fields) = item.as_object_mut().filter(|_| !definition.custom) {
                    fields.remove("apiVersion");
                    fields.remove("kind");
                }
                item
            })
            .collect();
        let body = json!({
            "kind": format!("{}List", definition.kind), "apiVersion": definition.api_version(target.version),
            "metadata": metadata, "items": items,
        });
        Ok(Response { status: 200, body })
    }

    /// The objects as they were at `rv`; `None` where that is no longer known.
    fn snapshot(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        rv: u64,
    ) -> Option<BTreeMap<Key, Arc<Value>>> {
        let mut objects: BTreeMap<Key, Arc<Value>> = match namespace {
            Some(namespace) => {
                self.objects_in(resource, namespace).map(|(k, o)| (k.clone(), o.clone())).collect()
            }
            None => self.objects(resource).map(|(k, o)| (k.clone(), o.clone())).collect(),
        };
        if rv < self.version() {
            let changes: Vec<_> = self.changes_after(resource, rv)?.collect();
            let here = |key: &Key| namespace.is_none_or(|namespace| key.namespace == namespace);
            for change in changes.into_iter().rev().filter(|change| here(&change.key)) {
                match &change.before {
                    Some(before) => objects.insert(change.key.clone(), before.clone()),
                    None => objects.remove(&change.key),
                };
            }
        }
        Some(objects)
    }

    fn continue_is_too_old(&self, after: Option<&Key>) -> Refusal {
        let mut refusal = expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter, or use the continue token in this response to retrieve the \
             remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
             that were created, modified, or deleted between the time the first chunk was returned and now may show \
             up in the list.",
        );
        if let Some(after) = after {
            refusal.body["metadata"] = json!({"continue": token_of(self.version(), after)});
        }
        refusal
    }
}

fn read_version(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| {
        let why = format!("Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
        bad_request(&format!("invalid resource version: resourceVersion: {why}"))
    })
}

fn token_of(rv: u64, last: &Key) -> String {
    format!("{rv}.{}.{}", last.namespace, last.name)
}

/// Namespaces hold no dots, so that the name is all the rest.
fn read_token(token: &str) -> Result<(u64, Key), Refusal> {
    let wrong = || bad_request("continue key is not valid: malformed value");
    let mut parts = token.splitn(3, '.');
    let mut next = || parts.next().ok_or_else(wrong);
    let rv = next()?.parse().map_err(|_| wrong())?;
    Ok((rv, Key::new(next()?, next()?)))
}
