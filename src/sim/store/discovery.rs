//! Discovery documents.

use serde_json::{Value, json};

use super::{
    resource::{Definition, Resource},
    route::Discovery,
    status,
};
use crate::api::http::Response;

/// Answers a GET of a discovery path.
pub(super) fn answer(document: &Discovery) -> Response {
    let body = match document {
        Discovery::Version => version(),
        Discovery::Health => Value::String("ok".into()),
        Discovery::CoreVersions => json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}]}),
        Discovery::Groups => {
            let groups: Vec<_> = Definition::groups().into_iter().filter_map(group).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        Discovery::OpenApi => openapi_index(),
        Discovery::OpenApiOf(path) => openapi(path),
        Discovery::Group(name) => match group(name) {
            Some(mut found) => {
                found["kind"] = json!("APIGroup");
                found["apiVersion"] = json!("v1");
                found
            }
            None => return status::no_such_path(false),
        },
        Discovery::Resources { group, version } => {
            let resources = resources(group, version);
            if resources.is_empty() {
                return status::no_such_path(false);
            }
            let group_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
            let kind = "APIResourceList";
            let mut list = json!({"kind": kind, "groupVersion": group_version, "resources": resources});
            if !group.is_empty() {
                list["apiVersion"] = json!("v1");
            }
            list
        }
    };
    Response { status: 200, body }
}

/// Where each group's OpenAPI v3 document is.
fn openapi_index() -> Value {
    let mut paths = json!({});
    for row in Resource::all().map(Resource::definition) {
        for version in row.versions {
            let path = openapi_path(row, version);
            paths[&path] = json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash=0")});
        }
    }
    json!({"paths": paths})
}

fn openapi_path(row: &Definition, version: &str) -> String {
    let root = if row.group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", row.api_version(version))
}

/// As much as `kubectl apply` wants to know: that PATCH takes `fieldValidation`. There are no schemas.
fn openapi(wanted: &str) -> Value {
    let mut paths = json!({});
    for row in Resource::all().map(Resource::definition) {
        for version in row.versions.iter().filter(|version| openapi_path(row, version) == wanted) {
            let namespace = if row.namespaced { "namespaces/{namespace}/" } else { "" };
            let path = format!("/{wanted}/{namespace}{}/{{name}}", row.plural);
            let kind = json!({"group": row.group, "version": version, "kind": row.kind});
            let parameter = json!({"name": "fieldValidation", "in": "query", "schema": {"type": "string"}});
            paths[&path] = json!({"patch": {"parameters": [parameter], "responses": {},
                "x-kubernetes-group-version-kind": kind}});
        }
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.4"}, "paths": paths})
}

/// Discovery of the core group, or of all others, as one `APIGroupDiscoveryList`.
pub fn aggregated(core: bool) -> Value {
    let groups = if core { vec![""] } else { Definition::groups() };
    let items: Vec<Value> = groups.into_iter().map(aggregated_group).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_group(name: &str) -> Value {
    let served = group(name);
    let versions = served.as_ref().and_then(|group| group["versions"].as_array());
    let versions: Vec<&str> = match versions {
        Some(versions) if !name.is_empty() => {
            versions.iter().filter_map(|it| it["version"].as_str()).collect()
        }
        _ => vec!["v1"],
    };
    let versions: Vec<Value> = versions
        .into_iter()
        .map(|version| {
            let resources = aggregated_resources(name, version);
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn is_custom(group: &str) -> bool {
    Resource::all().map(Resource::definition).any(|row| row.group == group && row.custom)
}

fn aggregated_resources(group: &str, version: &str) -> Vec<Value> {
    let mut found: Vec<Value> = vec![];
    for entry in resources(group, version) {
        let own =
            |field: &str, usual: &str| entry.get(field).and_then(Value::as_str).unwrap_or(usual).to_owned();
        // Built-in kinds leave out what is the same as the group's.
        let (usual_group, usual_version) = if is_custom(group) { (group, version) } else { ("", "") };
        let kind = json!({"group": own("group", usual_group), "version": own("version", usual_version), "kind": entry["kind"]});
        let name = own("name", "");
        match (name.split_once('/'), found.last_mut()) {
            (Some((_, part)), Some(last)) => {
                let part = json!({"subresource": part, "responseKind": kind, "verbs": entry["verbs"]});
                match last.get_mut("subresources").and_then(Value::as_array_mut) {
                    Some(parts) => {
                        parts.push(part);
                        if !is_custom(group) {
                            parts.sort_by_key(|part| part["subresource"].to_string());
                        }
                    }
                    None => last["subresources"] = json!([part]),
                }
            }
            _ => {
                let scope = if entry["namespaced"] == true { "Namespaced" } else { "Cluster" };
                let mut resource = json!({"resource": name, "responseKind": kind, "scope": scope,
                    "singularResource": entry["singularName"], "verbs": entry["verbs"]});
                for field in ["shortNames", "categories"] {
                    if let Some(value) = entry.get(field) {
                        resource[field] = value.clone();
                    }
                }
                found.push(resource);
            }
        }
    }
    found
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": "v1.34.4", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
    })
}

fn group(name: &str) -> Option<Value> {
    let mut versions: Vec<&str> = vec![];
    for definition in Resource::all().map(Resource::definition).filter(|row| row.group == name) {
        versions.extend(
            definition
                .versions
                .iter()
                .filter(|version| !versions.contains(*version))
                .copied()
                .collect::<Vec<_>>(),
        );
    }
    // Newest first, as clients take the first they know.
    versions.sort_by_key(|version| (version.contains("alpha"), version.contains("beta"), *version));
    let preferred = versions.first()?;
    let entry = |version: &str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    Some(json!({
        "name": name,
        "versions": versions.iter().map(|version| entry(version)).collect::<Vec<_>>(),
        "preferredVersion": entry(preferred),
    }))
}

fn verbs(row: &Definition) -> &'static [&'static str] {
    match (row.custom, row.kind) {
        (true, _) => &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
        (false, "Namespace") => &["create", "delete", "get", "list", "patch", "update", "watch"],
        (false, _) => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
    }
}

fn categories(row: &Definition) -> &'static [&'static str] {
    match (row.group, row.kind) {
        ("networking.istio.io", _) => &["istio-io", "networking-istio-io"],
        ("apiextensions.k8s.io", _) => &["api-extensions"],
        ("", "Pod" | "Service") | ("apps", "Deployment" | "ReplicaSet") => &["all"],
        _ => &[],
    }
}

fn resources(group: &str, version: &str) -> Vec<Value> {
    let mut found = vec![];
    for row in Resource::all().map(Resource::definition) {
        if row.group != group || !row.versions.contains(&version) {
            continue;
        }
        let mut entry = json!({
            "name": row.plural, "singularName": row.singular, "namespaced": row.namespaced, "kind": row.kind,
            "verbs": verbs(row),
        });
        if !row.short.is_empty() {
            entry["shortNames"] = json!(row.short);
        }
        if !categories(row).is_empty() {
            entry["categories"] = json!(categories(row));
        }
        found.push(entry);
        let part = |name: &str, group: &str, version: &str, kind: &str, verbs: &[&str]| {
            let mut entry = json!({"name": format!("{}/{name}", row.plural), "singularName": "",
                "namespaced": row.namespaced, "kind": kind, "verbs": verbs});
            if !group.is_empty() {
                entry["group"] = json!(group);
                entry["version"] = json!(version);
            }
            entry
        };
        if row.status {
            found.push(part("status", "", "", row.kind, &["get", "patch", "update"]));
        }
        if row.scale {
            found.push(part("scale", "autoscaling", "v1", "Scale", &["get", "patch", "update"]));
        }
        if row.plural == "pods" {
            found.push(part("eviction", "policy", "v1", "Eviction", &["create"]));
        }
    }
    found
}
