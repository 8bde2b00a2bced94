//! Creating and updating: the one path by which an object gets a version.

use std::{net::Ipv4Addr, sync::Arc};

use serde_json::{Value, json};

use super::{
    Store, at, defaults,
    history::{Change, Key},
    managers::{METADATA, Writer, is_nothing, track_update},
    resource::{Generation, Resource},
    route::Part,
    schema::Form,
    status::{
        Cause, Refusal, already_exists, cannot_be_handled, conflict, internal, invalid,
        namespace_terminating, no_name, not_found, other_namespace, other_uid, strict, strict_patch,
        version_required, wrong_name,
    },
    structural, text, typed, validate,
};

/// The first half of the addresses that Services are given.
const SERVICE_RANGE: [u8; 2] = [10, 96];

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// The field manager; `None` for the world's own actors, whose writes are not tracked.
    pub manager: Option<&'a str>,
    /// The `apiVersion` the writer speaks; empty means the stored one.
    pub api_version: &'a str,
    pub part: Part,
    /// Everything but the write itself.
    pub dry_run: bool,
    /// Fields that nobody knows are refused instead of dropped.
    pub strict: bool,
    /// A PATCH: it has nothing to say about uids, and cannot move what it patches.
    pub patches: bool,
    /// The metadata has empty lists or maps, which are stored and not shown.
    pub hides: bool,
}

impl By<'_> {
    /// The world itself, writing the whole object.
    pub const fn actor() -> Self {
        Self {
            manager: None,
            api_version: "",
            part: Part::Main,
            dry_run: false,
            strict: false,
            patches: false,
            hides: false,
        }
    }

    /// The world itself, writing a status.
    pub const fn actor_status() -> Self {
        Self { part: Part::Status, ..Self::actor() }
    }
}

impl Store {
    /// Creates an object. `namespace` is that of the request; empty for cluster-scoped kinds.
    ///
    /// # Errors
    /// What the API server would refuse it with.
    pub fn create(
        &mut self,
        resource: Resource,
        namespace: &str,
        object: Value,
        by: By<'_>,
    ) -> Result<Arc<Value>, Refusal> {
        let definition = resource.definition();
        let mut object = self.identified(resource, namespace, object)?;
        let key = Key::new(namespace, text(&object, "/metadata/name"));
        self.admit(resource, &key)?;
        let is_untyped = is_untyped(resource, None, &object, by);
        if definition.status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        shape(resource, &mut object, None, by)?;
        defaults::fill(resource, &mut object);
        if let Some(status) = defaults::initial_status(resource, &object, &self.stamp())
            && let Some(fields) = object.as_object_mut()
        {
            fields.insert("status".into(), status);
        }
        validate::object(resource, &object, None)?;
        // What is no number is no version.
        if text(&object, "/metadata/resourceVersion").parse::<u64>().is_ok_and(|version| version > 0) {
            return Err(internal("resourceVersion should not be set on objects to be created"));
        }
        if let Some(live) = self.at(resource, &key) {
            let is_going = live.pointer("/metadata/deletionTimestamp").is_some();
            return Err(already_exists(definition, &key.name, is_going));
        }
        self.stamp_new(resource, &mut object);
        self.track(resource, None, None, &mut object, by);
        if is_untyped {
            forget_owners(&mut object);
        }
        defaults::admit(resource, &mut object);
        self.allocate(resource, &mut object)?;
        if by.dry_run {
            return Ok(Arc::new(object));
        }
        Ok(self.commit(resource, key, Some(object)))
    }

    /// Updates an object to what `change` makes of it. Writing what is already there changes nothing and is told
    /// to nobody.
    ///
    /// # Errors
    /// What the API server would refuse it with, or what `change` refuses.
    pub fn update(
        &mut self,
        resource: Resource,
        key: &Key,
        by: By<'_>,
        change: impl FnOnce(&Arc<Value>) -> Result<Value, Refusal>,
    ) -> Result<Arc<Value>, Refusal> {
        let definition = resource.definition();
        let Some(live) = self.at(resource, key).cloned() else {
            return Err(not_found(definition, &key.name));
        };
        let mut object = change(&live)?;
        if by.patches {
            check_place(key, &object)?;
        } else if !object.get("metadata").is_some_and(Value::is_object) {
            object["metadata"] = json!({});
        }
        if !by.patches && by.manager.is_some() {
            // What cannot be decoded is compared with nothing.
            typed::check(resource, &object, &live).map_err(|mismatch| undecoded(resource, by, &mismatch))?;
        }
        check_identity(resource, key, &live, &object, by)?;
        // Of a custom kind's status the metadata is booked on its writer although it is not taken.
        let books_more = by.part == Part::Status && definition.custom;
        let sent = object.get("metadata").filter(|_| books_more).cloned();
        let is_untyped = is_untyped(resource, Some(&live), &object, by);
        restrict(resource, by.part, &live, &mut object);
        keep_server_fields(&live, &mut object);
        let emptied = emptied(resource, &object);
        shape(resource, &mut object, Some(&live), by)?;
        defaults::fill(resource, &mut object);
        keep_allocated(resource, &live, &mut object);
        validate_with(&emptied, resource, &mut object, &live)?;
        if definition.generation == Generation::Content && content_differs(resource, &live, &object) {
            let next = at(&live, "/metadata/generation").and_then(Value::as_i64).unwrap_or(0) + 1;
            object["metadata"]["generation"] = json!(next);
        }
        let booked = sent.filter(|_| by.manager.is_some()).map(|sent| {
            let mut booked = object.get("metadata").cloned().unwrap_or_default();
            for field in METADATA {
                let value = sent.get(field).filter(|value| !is_nothing(value)).cloned();
                replace(&mut booked, field, value);
            }
            booked
        });
        self.track(resource, Some(&live), booked, &mut object, by);
        if is_untyped {
            forget_owners(&mut object);
        }
        let hides = by.hides || !self.unshown.is_empty() && self.unshown.contains(&(resource, key.clone()));
        if object == *live && !hides {
            return Ok(live);
        }
        if by.dry_run {
            return Ok(Arc::new(object));
        }
        if is_released(&object) {
            self.commit(resource, key.clone(), None);
            return Ok(Arc::new(object));
        }
        let stored = self.commit(resource, key.clone(), Some(object));
        if by.hides {
            self.unshown.insert((resource, key.clone()));
        }
        Ok(stored)
    }

    /// Books a write: the next version, the object or its absence, the change.
    pub(super) fn commit(&mut self, resource: Resource, key: Key, object: Option<Value>) -> Arc<Value> {
        self.rv += 1;
        let rv = self.rv;
        if !self.unshown.is_empty() {
            self.unshown.remove(&(resource, key.clone()));
        }
        let all = self.objects.entry(resource).or_default();
        let version = |object: &mut Value| object["metadata"]["resourceVersion"] = json!(rv.to_string());
        let (before, after, shown) = match object {
            Some(mut object) => {
                version(&mut object);
                let uid = text(&object, "/metadata/uid").to_owned();
                self.uids.insert(uid, (resource, key.clone()));
                let object = Arc::new(object);
                (all.insert(key.clone(), object.clone()), Some(object.clone()), object)
            }
            None => {
                let before = all.remove(&key);
                let mut last = before.as_deref().cloned().unwrap_or_else(|| json!({"metadata": {}}));
                self.uids.remove(text(&last, "/metadata/uid"));
                version(&mut last);
                (before, None, Arc::new(last))
            }
        };
        self.history.push(resource, Change { rv, key, before, after, shown: shown.clone() });
        shown
    }

    fn identified(&mut self, resource: Resource, namespace: &str, object: Value) -> Result<Value, Refusal> {
        let definition = resource.definition();
        let mut object = if object.is_object() { object } else { json!({}) };
        object["apiVersion"] = json!(definition.stored_version());
        object["kind"] = json!(definition.kind);
        if !object.get("metadata").is_some_and(Value::is_object) {
            object["metadata"] = json!({});
        }
        let prefix = text(&object, "/metadata/generateName").to_owned();
        if text(&object, "/metadata/name").is_empty() && !prefix.is_empty() {
            let prefix: String = prefix.chars().take(58).collect();
            let mut name = format!("{prefix}{}", self.random.suffix());
            while self.object(resource, namespace, &name).is_some() {
                name = format!("{prefix}{}", self.random.suffix());
            }
            object["metadata"]["name"] = json!(name);
        }
        if definition.namespaced {
            object["metadata"]["namespace"] = json!(namespace);
        }
        Ok(object)
    }

    /// The namespace has to exist and to stay.
    fn admit(&self, resource: Resource, key: &Key) -> Result<(), Refusal> {
        if !resource.definition().namespaced {
            return Ok(());
        }
        let Some(namespace) = self.object(Resource::Namespaces, "", &key.namespace) else {
            return Err(not_found(Resource::Namespaces.definition(), &key.namespace));
        };
        if namespace.pointer("/metadata/deletionTimestamp").is_some() {
            return Err(namespace_terminating(resource.definition(), &key.name, &key.namespace));
        }
        Ok(())
    }

    fn stamp_new(&mut self, resource: Resource, object: &mut Value) {
        let (uid, now) = (self.random.uid(), self.stamp());
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        for server_set in [
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "managedFields",
        ] {
            metadata.remove(server_set);
        }
        metadata.insert("uid".into(), uid.into());
        metadata.insert("creationTimestamp".into(), now.into());
        if resource.definition().generation == Generation::Content {
            metadata.insert("generation".into(), json!(1));
        }
    }

    /// What the server gives a Service of its own accord; nobody owns these fields.
    ///
    /// # Errors
    /// For an address outside of the range.
    fn allocate(&mut self, resource: Resource, object: &mut Value) -> Result<(), Refusal> {
        if resource != Resource::Services || text(object, "/spec/type") == "ExternalName" {
            return Ok(());
        }
        let wanted = text(object, "/spec/clusterIP");
        if wanted.parse().is_ok_and(|address: Ipv4Addr| address.octets()[..2] != SERVICE_RANGE) {
            let why = format!(
                "failed to allocate IP {wanted}: the provided network does not match the current range"
            );
            let cause = Cause::invalid("spec.clusterIPs", &json!([wanted]).to_string(), &why);
            return Err(invalid(resource.definition(), text(object, "/metadata/name"), &[cause]));
        }
        if text(object, "/spec/clusterIP").is_empty() {
            self.service_addresses += 1;
            let number = self.service_addresses;
            let [first, second] = SERVICE_RANGE;
            let address = format!("{first}.{second}.{}.{}", number / 250 % 256, number % 250 + 1);
            object["spec"]["clusterIP"] = json!(address);
        }
        let address = object["spec"]["clusterIP"].clone();
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        spec.insert("clusterIPs".into(), json!([address]));
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
        Ok(())
    }

    fn track(
        &self,
        resource: Resource,
        live: Option<&Value>,
        booked: Option<Value>,
        object: &mut Value,
        by: By<'_>,
    ) {
        let Some(manager) = by.manager else { return };
        let definition = resource.definition();
        let (stored, time) = (definition.stored_version(), self.stamp());
        let writer = Writer {
            manager,
            api_version: if by.api_version.is_empty() { &stored } else { by.api_version },
            part: by.part,
            time: if by.part == Part::Scale { "" } else { &time },
            form: Form::of(resource),
            status: definition.status,
        };
        // What a type always has is owned by nobody until it says something.
        let mut zero = json!({});
        if live.is_none() {
            let _ = typed::shape(resource, &mut zero, None, &mut vec![]);
        }
        track_update(live.unwrap_or(&zero), live.is_some(), booked, object, &writer);
    }
}

/// Whether the half of an object that is not taken is one that its kind cannot hold: a spec beside a status, or a status
/// beside a spec. The server, which books what was sent, then gives up booking and forgets who owned what.
fn is_untyped(resource: Resource, live: Option<&Value>, sent: &Value, by: By<'_>) -> bool {
    let definition = resource.definition();
    let half = match by.part {
        Part::Status => "spec",
        Part::Main if definition.status => "status",
        Part::Main | Part::Scale | Part::Eviction => return false,
    };
    definition.custom
        && by.manager.is_some()
        && sent.get(half).is_some_and(|sent| live.and_then(|live| live.get(half)) != Some(sent))
        && structural::check(resource, sent, None, &[]).iter().any(Cause::is_of_another_type)
}

/// Where nobody can be booked nobody is.
fn forget_owners(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata") {
        replace(metadata, "managedFields", None);
    }
}

/// True where deletion was asked for and nothing holds the object any more.
fn is_released(object: &Value) -> bool {
    let held =
        at(object, "/metadata/finalizers").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    let grace = at(object, "/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    let namespace = at(object, "/spec/finalizers").is_some() && object["kind"] == "Namespace";
    at(object, "/metadata/deletionTimestamp").is_some() && !held && grace == 0 && !namespace
}

/// A patch cannot give its object another name.
fn check_place(key: &Key, object: &Value) -> Result<(), Refusal> {
    let (name, namespace) = (text(object, "/metadata/name"), text(object, "/metadata/namespace"));
    if name.is_empty() {
        return Err(no_name(&key.name));
    }
    if name != key.name {
        return Err(wrong_name(name, &key.name));
    }
    if namespace != key.namespace && !namespace.is_empty() {
        return Err(other_namespace());
    }
    Ok(())
}

fn check_identity(
    resource: Resource,
    key: &Key,
    live: &Value,
    object: &Value,
    by: By<'_>,
) -> Result<(), Refusal> {
    let definition = resource.definition();
    let version = text(object, "/metadata/resourceVersion");
    let current = text(live, "/metadata/resourceVersion");
    if !version.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(internal(&format!("strconv.ParseUint: parsing {version:?}: invalid syntax")));
    }
    if version.is_empty() || version == "0" {
        if !definition.unconditional_update {
            return Err(version_required(definition, &key.name));
        }
    } else if version != current {
        return Err(conflict(definition, &key.name));
    }
    let (uid, live_uid) = (text(object, "/metadata/uid"), text(live, "/metadata/uid"));
    if !uid.is_empty() && uid != live_uid && !by.patches {
        return Err(other_uid(definition, &key.namespace, &key.name, uid, live_uid));
    }
    Ok(())
}

/// A subresource writes its half only, the main resource everything but the subresource.
fn restrict(resource: Resource, part: Part, live: &Value, object: &mut Value) {
    let definition = resource.definition();
    match part {
        Part::Status if definition.custom => {
            let mut take = |pointer: &str| object.pointer_mut(pointer).map(Value::take);
            let (status, managed) = (take("/status"), take("/metadata/managedFields"));
            *object = live.clone();
            replace(object, "status", status);
            if let Some(metadata) = object.get_mut("metadata") {
                replace(metadata, "managedFields", managed);
            }
        }
        Part::Status => replace(object, "spec", live.get("spec").cloned()),
        Part::Main | Part::Scale | Part::Eviction if definition.status => {
            replace(object, "status", live.get("status").cloned());
        }
        Part::Main | Part::Scale | Part::Eviction => {}
    }
}

fn replace(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    match value {
        Some(value) => {
            fields.insert(field.to_owned(), value);
        }
        None => {
            fields.remove(field);
        }
    }
}

/// What no client may change.
fn keep_server_fields(live: &Value, object: &mut Value) {
    for field in ["apiVersion", "kind"] {
        replace(object, field, live.get(field).cloned());
    }
    let Some(metadata) = object.get_mut("metadata") else { return };
    let before = |field: &str| live.pointer(&format!("/metadata/{field}")).cloned();
    for field in ["name", "namespace", "creationTimestamp", "generation", "resourceVersion", "selfLink"] {
        replace(metadata, field, before(field));
    }
    if text(metadata, "/uid").is_empty() {
        replace(metadata, "uid", before("uid"));
    }
    // A deletion cannot be taken back. To begin one is refused later.
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        if let Some(value) = before(field) {
            replace(metadata, field, Some(value));
        }
    }
}

fn keep_allocated(resource: Resource, live: &Value, object: &mut Value) {
    if resource != Resource::Services {
        return;
    }
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = at(live, &format!("/spec/{field}")) {
            spec.entry(field).or_insert_with(|| value.clone());
        }
    }
}

/// Data that is sent as an empty map: to what may not change it is another than none, although it is stored as none.
fn emptied(resource: Resource, object: &Value) -> Vec<&'static str> {
    if !matches!(resource, Resource::ConfigMaps | Resource::Secrets) {
        return vec![];
    }
    ["data", "binaryData"].into_iter().filter(|field| object.get(*field) == Some(&json!({}))).collect()
}

/// Looks at an object as it is stored, with those maps in it that are not stored.
fn validate_with(
    emptied: &[&'static str],
    resource: Resource,
    object: &mut Value,
    live: &Value,
) -> Result<(), Refusal> {
    let gone: Vec<_> = emptied.iter().filter(|field| object.get(**field).is_none()).collect();
    for field in &gone {
        replace(object, field, Some(json!({})));
    }
    validate::object(resource, object, Some(live))?;
    for field in gone {
        replace(object, field, None);
    }
    Ok(())
}

fn content_differs(resource: Resource, live: &Value, object: &Value) -> bool {
    let status = resource.definition().status;
    let content = |object: &Value, other: &Value| {
        object.as_object().into_iter().flatten().any(|(name, value)| {
            let counts = name != "metadata" && (name != "status" || !status);
            counts && other.get(name) != Some(value)
        })
    };
    content(live, object) || content(object, live)
}

fn undecoded(resource: Resource, by: By<'_>, mismatch: &typed::Mismatches) -> Refusal {
    cannot_be_handled(resource.definition(), by.api_version, &mismatch.to_string())
}

/// An object as the server's types or the schema of its kind hold it.
fn shape(resource: Resource, object: &mut Value, live: Option<&Value>, by: By<'_>) -> Result<(), Refusal> {
    let mut unknown = vec![];
    let definition = resource.definition();
    // The world's own writes, and what was applied, are not decoded a second time.
    if by.manager.is_some() {
        structural::drop_nulls(resource, object, live);
    }
    typed::shape(resource, object, live, &mut unknown)
        .map_err(|mismatch| undecoded(resource, by, &mismatch))?;
    structural::shape(resource, object, live, &mut unknown);
    if by.strict && !unknown.is_empty() {
        return Err(if by.patches {
            strict_patch(&unknown)
        } else {
            strict(definition, by.api_version, &unknown)
        });
    }
    Ok(())
}
