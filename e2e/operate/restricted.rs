//! The Pod Security Standard `restricted`, which holds `baseline`, as Kubernetes publishes it: what of a pod breaks it.

use serde_json::Value;

/// Volumes that a restricted pod may have.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
const SELINUX_TYPES: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const SYSCTLS: [&str; 8] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];

/// Everything that breaks the standard; empty where nothing does.
pub(crate) fn broken(pod: &Value) -> Vec<String> {
    let mut broken = vec![];
    let spec = &pod["spec"];
    let security = &spec["securityContext"];
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        check(&mut broken, is_unset_or(&spec[host], false), host);
    }
    check(&mut broken, is_unset_or(&security["windowsOptions"]["hostProcess"], false), "hostProcess");
    for volume in each(&spec["volumes"]) {
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        for kind in kinds {
            check(&mut broken, VOLUMES.contains(&kind.as_str()), &format!("volume {kind}"));
        }
    }
    for sysctl in each(&security["sysctls"]) {
        let name = sysctl["name"].as_str().unwrap_or_default();
        check(&mut broken, SYSCTLS.contains(&name), &format!("sysctl {name}"));
    }
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    for (key, value) in annotations.filter(|(key, _)| key.starts_with("container.apparmor.security.beta")) {
        let value = value.as_str().unwrap_or_default();
        check(&mut broken, value == "runtime/default" || value.starts_with("localhost/"), key);
    }
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        for container in each(&spec[kind]) {
            for what in of_container(container, security) {
                broken.push(format!("{}: {what}", container["name"].as_str().unwrap_or_default()));
            }
        }
    }
    broken
}

fn of_container(container: &Value, pod: &Value) -> Vec<String> {
    let mut broken = vec![];
    let own = &container["securityContext"];
    // What a container does not say, its pod says for it.
    let said = |field: &str| if own[field].is_null() { pod[field].clone() } else { own[field].clone() };
    check(&mut broken, is_unset_or(&own["privileged"], false), "privileged");
    check(&mut broken, own["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
    check(&mut broken, said("runAsNonRoot") == true, "runAsNonRoot");
    check(&mut broken, own["runAsUser"] != 0 && pod["runAsUser"] != 0, "runAsUser");
    let seccomp = said("seccompProfile");
    let profile = seccomp["type"].as_str().unwrap_or_default();
    check(&mut broken, ["RuntimeDefault", "Localhost"].contains(&profile), "seccompProfile");
    let capabilities = &own["capabilities"];
    check(&mut broken, each(&capabilities["drop"]).any(|one| one == "ALL"), "capabilities.drop");
    check(&mut broken, each(&capabilities["add"]).all(|one| one == "NET_BIND_SERVICE"), "capabilities.add");
    check(&mut broken, each(&container["ports"]).all(|port| is_unset_or(&port["hostPort"], 0)), "hostPort");
    check(&mut broken, is_unset_or(&own["procMount"], "Default"), "procMount");
    for context in [own, pod] {
        let options = &context["seLinuxOptions"];
        let kind = options["type"].as_str().unwrap_or_default();
        check(&mut broken, SELINUX_TYPES.contains(&kind), "seLinuxOptions.type");
        check(&mut broken, options["user"].is_null() && options["role"].is_null(), "seLinuxOptions");
        let armor = context["appArmorProfile"]["type"].as_str().unwrap_or("RuntimeDefault");
        check(&mut broken, ["RuntimeDefault", "Localhost"].contains(&armor), "appArmorProfile");
        check(&mut broken, is_unset_or(&context["windowsOptions"]["hostProcess"], false), "hostProcess");
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        check(&mut broken, container[probe]["httpGet"]["host"].is_null(), &format!("{probe} host"));
    }
    broken
}

fn check(broken: &mut Vec<String>, holds: bool, what: &str) {
    if !holds {
        broken.push(what.to_owned());
    }
}

fn is_unset_or<T>(value: &Value, allowed: T) -> bool
where
    Value: PartialEq<T>,
{
    value.is_null() || *value == allowed
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[test]
fn what_the_standard_forbids_is_found() {
    use serde_json::json;
    let fine = json!({"spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "containers": [{"name": "a", "securityContext":
            {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}});
    assert_eq!(broken(&fine), Vec::<String>::new());
    let changes = [
        ("/spec/hostNetwork", json!(true)),
        ("/spec/securityContext/runAsNonRoot", json!(false)),
        ("/spec/securityContext/seccompProfile", json!({"type": "Unconfined"})),
        ("/spec/securityContext/runAsUser", json!(0)),
        ("/spec/securityContext/sysctls", json!([{"name": "kernel.msgmax"}])),
        ("/spec/volumes/0", json!({"name": "tmp", "hostPath": {"path": "/"}})),
        ("/spec/containers/0/securityContext/allowPrivilegeEscalation", json!(true)),
        ("/spec/containers/0/securityContext/privileged", json!(true)),
        ("/spec/containers/0/securityContext/capabilities", json!({"drop": []})),
        ("/spec/containers/0/securityContext/capabilities/add", json!(["NET_ADMIN"])),
        ("/spec/containers/0/ports", json!([{"containerPort": 80, "hostPort": 80}])),
        ("/spec/containers/0/securityContext/procMount", json!("Unmasked")),
    ];
    for (path, value) in changes {
        let mut pod = fine.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = pod.pointer_mut(parent).unwrap();
        if parent.is_array() {
            parent[key.parse::<usize>().unwrap()] = value
        } else {
            parent[key] = value
        }
        assert_eq!(broken(&pod).len(), 1, "{path}: {:?}", broken(&pod));
    }
}
