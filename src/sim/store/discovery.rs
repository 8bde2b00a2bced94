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
            json!({"kind": kind, "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
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

fn resources(group: &str, version: &str) -> Vec<Value> {
    let mut found = vec![];
    for row in Resource::all().map(Resource::definition) {
        if row.group != group || !row.versions.contains(&version) {
            continue;
        }
        let mut entry = json!({
            "name": row.plural, "singularName": row.singular, "namespaced": row.namespaced, "kind": row.kind,
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        });
        if !row.short.is_empty() {
            entry["shortNames"] = json!(row.short);
        }
        if matches!(row.kind, "Rollout" | "Deployment" | "ReplicaSet" | "Pod" | "Service") {
            entry["categories"] = json!(["all"]);
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
