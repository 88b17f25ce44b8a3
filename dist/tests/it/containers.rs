//! Image, compose file and Kubernetes manifests, by what they say: nothing here can run them.

use serde_json::Value;

use crate::{packaging, sources};

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// The documents of the manifest file.
fn manifests() -> Vec<Value> {
    packaging("kubernetes/llmc.yaml").split("\n---\n").map(yaml).collect()
}

/// Those of the file that brings a database, by kind and name.
fn with_redis(kind: &str, name: &str) -> Value {
    let text = packaging("kubernetes/redis.yaml");
    let mut found = text.split("\n---\n").map(yaml);
    let is_it = |manifest: &Value| manifest["kind"] == kind && manifest["metadata"]["name"] == name;
    found.find(is_it).unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn manifest(kind: &str) -> Value {
    let mut found: Vec<_> = manifests().into_iter().filter(|manifest| manifest["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found.remove(0)
}

/// The complaints about a workload, none for one that is fit to be run.
fn complaints(deployment: &Value) -> Vec<String> {
    let pod = &deployment["spec"]["template"]["spec"];
    let mut complaints = Vec::new();
    let mut want = |holds: bool, what: &str| {
        if !holds {
            complaints.push(what.to_owned());
        }
    };
    want(
        deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"],
        "labels",
    );
    want(pod["hostUsers"] == false, "hostUsers");
    want(pod["automountServiceAccountToken"] == false, "token");
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        want(pod.get(host).is_none_or(|value| value == false), host);
    }
    let security = &pod["securityContext"];
    want(
        security["runAsNonRoot"] == true && security["runAsUser"].as_u64().is_some_and(|user| user > 0),
        "user",
    );
    want(security["seccompProfile"]["type"] == "Localhost", "seccomp");
    for container in pod["containers"].as_array().unwrap() {
        let security = &container["securityContext"];
        want(security["privileged"] == false, "privileged");
        want(security["allowPrivilegeEscalation"] == false, "escalation");
        want(security["readOnlyRootFilesystem"] == true, "root file system");
        want(security["capabilities"]["drop"] == serde_json::json!(["ALL"]), "capabilities");
        want(security["capabilities"].get("add").is_none(), "added capabilities");
        want(
            security.get("procMount").is_none_or(|mount| mount == "Default" || pod["hostUsers"] == false),
            "procMount",
        );
        want(is_pinned(container["image"].as_str().unwrap()), "image");
        want(container["livenessProbe"]["httpGet"]["path"] == "/healthz", "liveness");
        want(container["readinessProbe"]["httpGet"]["path"] == "/readyz", "readiness");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let port = &container[probe]["httpGet"]["port"];
            want(container["ports"].as_array().unwrap().iter().any(|known| known["name"] == *port), probe);
        }
        for limit in ["cpu", "memory"] {
            want(container["resources"]["limits"][limit].is_string(), limit);
        }
        for mount in container["volumeMounts"].as_array().unwrap() {
            let volumes = pod["volumes"].as_array().unwrap();
            want(volumes.iter().any(|volume| volume["name"] == mount["name"]), "volume");
        }
    }
    for container in pod["initContainers"].as_array().into_iter().flatten() {
        let security = &container["securityContext"];
        let is_closed = security["privileged"] == false
            && security["allowPrivilegeEscalation"] == false
            && security["readOnlyRootFilesystem"] == true
            && security["capabilities"] == serde_json::json!({"drop": ["ALL"]});
        want(is_closed && is_pinned(container["image"].as_str().unwrap()), "preparation");
        for mount in container["volumeMounts"].as_array().unwrap() {
            let volumes = pod["volumes"].as_array().unwrap();
            want(volumes.iter().any(|volume| volume["name"] == mount["name"]), "volume");
        }
    }
    for volume in pod["volumes"].as_array().unwrap() {
        want(volume.get("hostPath").is_none(), "hostPath");
    }
    complaints
}

/// Whether an image has a tag that says which one it is.
fn is_pinned(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.contains('@') || name.split_once(':').is_some_and(|(_, tag)| !tag.is_empty() && tag != "latest")
}

#[test]
fn the_deployment_asks_for_no_more_than_jails_need() {
    let deployment = manifest("Deployment");
    assert_eq!(complaints(&deployment), [""; 0]);

    let mut broken = deployment.clone();
    broken["spec"]["template"]["spec"]["hostUsers"] = true.into();
    broken["spec"]["template"]["spec"]["containers"][0]["image"] = "llmc:latest".into();
    broken["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = true.into();
    broken["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().remove("readinessProbe");
    let found = complaints(&broken);
    for wanted in ["hostUsers", "image", "privileged", "readiness", "procMount"] {
        assert!(found.iter().any(|complaint| complaint == wanted), "{wanted}: {found:?}");
    }
}

/// What several servers lack to be one for clients; none for one server.
fn not_shared(deployment: &Value, config: &str, claims: &[Value]) -> Vec<&'static str> {
    let mut lacking = Vec::new();
    if deployment["spec"]["replicas"] == 1 {
        return lacking;
    }
    for key in
        ["state_key =", "shared_state = \"/shared/", "tokens = \"/shared/", "path = \"/shared/audit.jsonl\""]
    {
        if !config.contains(key) {
            lacking.push(key);
        }
    }
    let modes = |claim: &Value| claim["spec"]["accessModes"] == serde_json::json!(["ReadWriteMany"]);
    if claims.is_empty() || !claims.iter().all(modes) {
        lacking.push("claims");
    }
    let pod = &deployment["spec"]["template"]["spec"];
    let is_mounted = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().unwrap();
        mounts.iter().any(|mount| mount["name"] == "shared" && mount["mountPath"] == "/shared")
    };
    if !is_mounted(&pod["containers"][0]) || !is_mounted(&pod["initContainers"][0]) {
        lacking.push("mount");
    }
    lacking
}

#[test]
fn several_servers_share_what_makes_them_one() {
    let (deployment, map) = (manifest("Deployment"), manifest("ConfigMap"));
    assert_eq!(deployment["spec"]["replicas"], 3);
    let config = map["data"]["config.toml"].as_str().unwrap();
    let claims: Vec<Value> =
        manifests().into_iter().filter(|manifest| manifest["kind"] == "PersistentVolumeClaim").collect();
    assert_eq!(not_shared(&deployment, config, &claims), [""; 0]);

    let alone = config.replace("shared_state", "# shared_state").replace("= \"/shared/state.db\"", "");
    let mut narrow = claims.clone();
    narrow[0]["spec"]["accessModes"] = serde_json::json!(["ReadWriteOnce"]);
    let mut unmounted = deployment.clone();
    unmounted["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = serde_json::json!([]);
    let found = not_shared(&unmounted, &alone, &narrow);
    assert_eq!(found, ["shared_state = \"/shared/", "claims", "mount"]);
}

#[test]
fn a_database_takes_the_place_of_the_file_and_changes_nothing_else() {
    let config = |map: &Value| map["data"]["config.toml"].as_str().unwrap().to_owned();
    let (file, redis) = (config(&manifest("ConfigMap")), config(&with_redis("ConfigMap", "llmc")));
    let kept = redis
        .replace("shared_state = \"redis://llmc@llmc-redis:6379/0\"", "shared_state = \"/shared/state.db\"")
        .replace("shared_state_password = \"DATABASE\"\n", "")
        .replace("\n[secrets]\nDATABASE = { file = \"/run/llmc/redis-password\" }\n", "");
    assert_eq!(kept, file);
    let prepare = manifest("Deployment")["spec"]["template"]["spec"]["initContainers"][0]["args"].to_string();
    assert!(prepare.contains("cp /secret/redis-password /run/llmc/redis-password"), "{prepare}");

    let settings = with_redis("ConfigMap", "llmc-redis")["data"]["redis.conf"].as_str().unwrap().to_owned();
    for line in ["appendonly yes", "appendfsync always", "maxmemory-policy noeviction"] {
        assert!(settings.lines().any(|known| known == line), "{line}");
    }
}

#[test]
fn the_database_is_closed_to_all_but_llmc_whose_user_may_do_what_is_documented() {
    let (set, pods) = (with_redis("StatefulSet", "llmc-redis"), with_redis("NetworkPolicy", "llmc-redis"));
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(set["spec"]["selector"]["matchLabels"], *labels);
    assert_eq!(with_redis("Service", "llmc-redis")["spec"]["selector"], *labels);
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    for container in [&pod["initContainers"][0], &pod["containers"][0]] {
        let security = &container["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true, "{container}");
        assert_eq!(security["capabilities"], serde_json::json!({"drop": ["ALL"]}), "{container}");
        assert!(is_pinned(container["image"].as_str().unwrap()));
    }
    let script = pod["initContainers"][0]["args"][0].as_str().unwrap();
    let commands = script.split('"').find(|part| part.starts_with("+auth")).unwrap();
    let docs = std::fs::read_to_string(sources().join("docs/scaling.md")).unwrap();
    assert!(docs.contains(commands), "docs/scaling.md grants something else than {commands}");

    let llmc = &manifest("Deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(pods["spec"]["podSelector"]["matchLabels"], *labels);
    assert_eq!(pods["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"], *llmc);
    assert_eq!(
        (&pods["spec"]["egress"], &pods["spec"]["ingress"][1]),
        (&serde_json::json!([]), &Value::Null)
    );
    // llmc itself reaches the database and the names of the cluster, and is reached as before.
    let (before, after) = (manifest("NetworkPolicy"), with_redis("NetworkPolicy", "llmc"));
    assert_eq!(after["spec"]["ingress"], before["spec"]["ingress"]);
    let egress = after["spec"]["egress"].as_array().unwrap();
    assert_eq!(egress.len(), 2, "{egress:?}");
    assert_eq!(egress[0]["to"][0]["podSelector"]["matchLabels"], *labels);
    let dns = egress[1]["ports"].as_array().unwrap();
    assert!(dns.iter().all(|port| port["port"] == 53), "{egress:?}");
}

#[test]
fn all_manifests_have_a_name_and_one_namespace() {
    let redis = packaging("kubernetes/redis.yaml");
    for manifest in manifests().into_iter().chain(redis.split("\n---\n").map(yaml)) {
        assert!(manifest["apiVersion"].is_string() && manifest["kind"].is_string(), "{manifest}");
        assert!(manifest["metadata"]["name"].is_string(), "{manifest}");
        assert!(manifest["kind"] == "Namespace" || manifest["metadata"]["namespace"] == "llmc", "{manifest}");
    }
}

#[test]
fn only_labelled_pods_get_in_and_nothing_gets_out() {
    let policy = manifest("NetworkPolicy");
    let labels = &manifest("Deployment")["spec"]["template"]["metadata"]["labels"];
    let spec = &policy["spec"];
    assert_eq!(spec["podSelector"]["matchLabels"], *labels);
    assert_eq!(spec["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
    assert_eq!(spec["egress"], serde_json::json!([]));
    let ingress = spec["ingress"].as_array().unwrap();
    assert_eq!(ingress.len(), 1);
    let from = ingress[0]["from"].as_array().unwrap();
    assert!(
        !from.is_empty() && from.iter().all(|peer| peer["podSelector"]["matchLabels"].is_object()),
        "{policy}"
    );
    assert!(ingress[0]["ports"].is_array());
    assert_eq!(manifest("Service")["spec"]["selector"], *labels);
}

#[test]
fn the_compose_file_is_as_closed_as_jails_allow() {
    let compose = yaml(&packaging("docker/compose.yaml"));
    let service = &compose["services"]["llmc"];
    assert!(is_pinned(service["image"].as_str().unwrap()));
    assert_eq!(service["read_only"], true);
    assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]));
    assert!(service.get("privileged").is_none() && service.get("cap_add").is_none());
    assert!(!service["user"].as_str().unwrap().starts_with('0'));
    let options = service["security_opt"].as_array().unwrap();
    assert!(
        options.contains(&"no-new-privileges:true".into())
            && options.contains(&"seccomp=./seccomp.json".into())
    );
    for port in service["ports"].as_array().unwrap() {
        assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{port}");
    }
    for volume in service["volumes"].as_array().unwrap() {
        let name = volume.as_str().unwrap().split(':').next().unwrap();
        assert!(name.starts_with("./") || compose["volumes"].get(name).is_some(), "{name}");
    }
}

#[test]
fn the_image_runs_as_a_user_from_a_pinned_base() {
    let text = packaging("docker/Dockerfile");
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let values = |word: &str| lines.iter().filter_map(|line| line.strip_prefix(word)).collect::<Vec<_>>();
    for base in values("FROM ") {
        assert!(is_pinned(base), "{base}");
    }
    let users = values("USER ");
    assert!(users.last().is_some_and(|user| !user.starts_with('0') && *user != "root"), "{users:?}");
    assert_eq!(values("HEALTHCHECK ").len(), 1);
    assert!(values("ADD ").iter().all(|source| !source.contains("://")), "nothing is loaded from elsewhere");
    let version = llmc_dist::version(&sources()).unwrap();
    let tarball = llmc_dist::Names::of("${VERSION}").tarball;
    assert!(values("ADD ").iter().any(|source| source.starts_with(&tarball)), "{tarball}");
    for (file, text) in
        [("compose.yaml", packaging("docker/compose.yaml")), ("llmc.yaml", packaging("kubernetes/llmc.yaml"))]
    {
        assert!(
            text.contains(&format!("image: llmc:{version}")),
            "{file} names another version than {version}"
        );
    }
}

#[test]
fn tags_are_told_from_none() {
    assert!(is_pinned("debian:12-slim") && is_pinned("host:5000/llmc@sha256:00"));
    assert!(!is_pinned("debian") && !is_pinned("debian:latest") && !is_pinned("host:5000/llmc"));
}

#[test]
fn the_filter_of_system_calls_leaves_what_jails_are_made_of() {
    let filter: Value = serde_json::from_str(&packaging("docker/seccomp.json")).unwrap();
    assert_eq!(filter["defaultAction"], "SCMP_ACT_ALLOW");
    let mut refused = Vec::new();
    for group in filter["syscalls"].as_array().unwrap() {
        assert_eq!(group["action"], "SCMP_ACT_ERRNO", "{group}");
        refused
            .extend(group["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
    }
    for needed in [
        "clone",
        "clone3",
        "unshare",
        "setns",
        "mount",
        "umount2",
        "pivot_root",
        "mount_setattr",
        "open_tree",
        "move_mount",
        "openat2",
        "seccomp",
        "landlock_create_ruleset",
        "landlock_restrict_self",
        "sethostname",
        "memfd_create",
        "pidfd_open",
        "pidfd_send_signal",
    ] {
        assert!(!refused.iter().any(|name| name == needed), "{needed}");
    }
    for closed in
        ["bpf", "init_module", "kexec_load", "reboot", "io_uring_setup", "open_by_handle_at", "keyctl"]
    {
        assert!(refused.iter().any(|name| name == closed), "{closed}");
    }
}
