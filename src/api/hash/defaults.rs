//! The defaults that the API server fills into a pod template of a ReplicaSet (Kubernetes 1.34).

use super::{
    image,
    table::{self, Kind},
    typed::{Object, Typed},
};

/// What an empty field becomes.
#[derive(Clone, Copy)]
enum Fill {
    Text(&'static str),
    Int(i64),
    False,
    /// A struct with nothing set.
    Empty,
}

use Fill::{Empty, False, Int, Text};

/// Struct, field, default; in addition to what the table says is stored.
const DEFAULTS: &[(&str, &str, Fill)] = &[
    ("PodSpec", "restartPolicy", Text("Always")),
    ("PodSpec", "terminationGracePeriodSeconds", Int(30)),
    ("PodSpec", "dnsPolicy", Text("ClusterFirst")),
    ("PodSpec", "securityContext", Empty),
    ("PodSpec", "schedulerName", Text("default-scheduler")),
    ("Container", "terminationMessagePath", Text("/dev/termination-log")),
    ("Container", "terminationMessagePolicy", Text("File")),
    ("EphemeralContainer", "terminationMessagePath", Text("/dev/termination-log")),
    ("EphemeralContainer", "terminationMessagePolicy", Text("File")),
    ("ContainerPort", "protocol", Text("TCP")),
    ("Probe", "timeoutSeconds", Int(1)),
    ("Probe", "periodSeconds", Int(10)),
    ("Probe", "successThreshold", Int(1)),
    ("Probe", "failureThreshold", Int(3)),
    ("HTTPGetAction", "path", Text("/")),
    ("HTTPGetAction", "scheme", Text("HTTP")),
    ("ObjectFieldSelector", "apiVersion", Text("v1")),
    ("HostPathVolumeSource", "type", Text("")),
    ("SecretVolumeSource", "defaultMode", Int(0o644)),
    ("ConfigMapVolumeSource", "defaultMode", Int(0o644)),
    ("DownwardAPIVolumeSource", "defaultMode", Int(0o644)),
    ("ProjectedVolumeSource", "defaultMode", Int(0o644)),
    ("ServiceAccountTokenProjection", "expirationSeconds", Int(3600)),
    ("ISCSIVolumeSource", "iscsiInterface", Text("default")),
    ("RBDVolumeSource", "pool", Text("rbd")),
    ("RBDVolumeSource", "user", Text("admin")),
    ("RBDVolumeSource", "keyring", Text("/etc/ceph/keyring")),
    ("AzureDiskVolumeSource", "cachingMode", Text("ReadWrite")),
    ("AzureDiskVolumeSource", "fsType", Text("ext4")),
    ("AzureDiskVolumeSource", "readOnly", False),
    ("AzureDiskVolumeSource", "kind", Text("Shared")),
    ("ScaleIOVolumeSource", "storageMode", Text("ThinProvisioned")),
    ("ScaleIOVolumeSource", "fsType", Text("xfs")),
    ("PersistentVolumeClaimSpec", "volumeMode", Text("Filesystem")),
];

/// Fills the defaults into `value` and everything below it. Doing it twice changes nothing.
pub(super) fn apply(value: &mut Typed) {
    match value {
        Typed::Pointer(target) => apply(target),
        Typed::List(items) => items.iter_mut().for_each(apply),
        Typed::Map(entries) => {
            for (_, entry) in entries {
                if let Typed::Quantity(amount) = entry {
                    *amount = amount.rounded_to_milli();
                }
            }
        }
        Typed::Struct(object) => fill(object),
        Typed::Nil
        | Typed::Text(_)
        | Typed::Bool(_)
        | Typed::Int(_)
        | Typed::Quantity(_)
        | Typed::Time(_)
        | Typed::Raw(_) => {}
    }
}

fn fill(object: &mut Object) {
    let name = object.of.name;
    match name {
        "Container" | "EphemeralContainer" => pull_policy(object, "image", "imagePullPolicy"),
        "ImageVolumeSource" => pull_policy(object, "reference", "pullPolicy"),
        "Volume" => volume(object),
        _ => {}
    }
    for (_, field, default) in DEFAULTS.iter().filter(|(of, _, _)| *of == name) {
        set_if_empty(object, field, *default);
    }
    object.values.iter_mut().for_each(apply);
}

fn pull_policy(object: &mut Object, image: &str, policy: &str) {
    if let Some(Typed::Text(image)) = object.field(image) {
        let default = Text(image::default_pull_policy(image));
        set_if_empty(object, policy, default);
    }
}

/// A volume without a source is an `emptyDir`.
fn volume(object: &mut Object) {
    if object.fields().all(|(field, value)| field.name == "name" || value.is_empty()) {
        set_if_empty(object, "emptyDir", Empty);
    }
}

fn set_if_empty(object: &mut Object, name: &str, default: Fill) {
    let Some((field, value)) =
        object.fields_mut().find(|(field, value)| field.name == name && value.is_empty())
    else {
        return;
    };
    let own = table::kind(field.kind);
    let (is_pointer, inner) =
        if let Kind::Pointer(inner) = own { (true, table::kind(inner)) } else { (false, own) };
    let target = match default {
        Text(text) => Typed::Text(text.into()),
        Int(number) => Typed::Int(number),
        False => Typed::Bool(false),
        Empty => Typed::zero(inner),
    };
    *value = if is_pointer { Typed::Pointer(Box::new(target)) } else { target };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_names_a_field_of_the_table() {
        for (of, name, _) in DEFAULTS {
            let Kind::Struct(known) = table::kind(of) else { panic!("no struct {of}") };
            assert!(known.fields.iter().any(|field| field.name == *name), "{of}.{name}");
        }
    }
}
