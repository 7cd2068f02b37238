//! Whatever is switched on, what comes out is valid.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::must;
use crate::helm::{CHART, find, helm, overlay, release, validate};

/// The ways in which a container gets the binary.
const WAYS: [&str; 3] = ["init", "volume", "image"];

/// Everything that can be switched, one by one.
fn features() -> Vec<Value> {
    vec![
        json!({}),
        json!({ "image": { "digest": format!("sha256:{}", "0".repeat(64)) } }),
        json!({ "imagePullSecrets": [{ "name": "registry" }] }),
        json!({ "allcores": { "image": { "repository": "registry.example.com/allcores", "tag": "2" } } }),
        json!({ "ports": [] }),
        json!({ "ports": [
            { "name": "http", "containerPort": 8080 },
            { "name": "dns", "containerPort": 5353, "servicePort": 53, "protocol": "UDP" },
        ] }),
        json!({ "env": [{ "name": "A", "value": "b" }], "envFrom": [{ "secretRef": { "name": "s" } }] }),
        json!({ "config": { "files": { "app.json": "{\"a\": \"{{ b }}\"}\n", "empty": "" } } }),
        json!({ "config": { "files": { "app.json": "" }, "onChange": "restart", "mountPath": "/config" } }),
        json!({ "settings": { "HTTP": null } }),
        json!({ "settings": { "HTTP": "127.0.0.1:9180" } }),
        json!({ "settings": { "LISTEN": "http=8080", "STOP_TIMEOUT": false, "BACKLOG": 65535, "MODE": "inherit" },
            "terminationGracePeriodSeconds": 600 }),
        json!({ "probes": { "startup": null, "readiness": null, "liveness": null } }),
        json!({ "replicas": 0, "strategy": { "type": "Recreate", "rollingUpdate": null } }),
        json!({ "resources": { "limits": null, "requests": null } }),
        json!({ "tmp": null }),
        json!({ "tmp": { "medium": "Memory", "sizeLimit": "1Mi" } }),
        json!({ "topologySpreadConstraints": [{ "topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "a": "b" } } }] }),
        json!({ "topologySpreadConstraints": [] }),
        json!({ "affinity": { "nodeAffinity": {} }, "nodeSelector": { "disk": "fast" }, "priorityClassName": "high",
            "tolerations": [{ "key": "a", "operator": "Exists" }] }),
        json!({ "podLabels": { "team": "a" }, "podAnnotations": { "note": "b" } }),
        json!({ "extraVolumes": [{ "name": "run", "emptyDir": {} }],
            "extraVolumeMounts": [{ "name": "run", "mountPath": "/run" }] }),
        json!({ "serviceAccount": { "create": false } }),
        json!({ "serviceAccount": { "name": "other", "annotations": { "a": "b" } } }),
        json!({ "service": { "type": "LoadBalancer", "annotations": { "a": "b" } } }),
        json!({ "autoscaling": { "enabled": true } }),
        json!({ "autoscaling": { "enabled": true, "targetCPUUtilizationPercentage": null,
            "behavior": { "scaleDown": { "stabilizationWindowSeconds": 60 } },
            "metrics": [{ "type": "Pods", "pods": { "metric": { "name": "allcores_handoffs_pending" },
                "target": { "type": "AverageValue", "averageValue": "10" } } }] } }),
        json!({ "podDisruptionBudget": { "enabled": false } }),
        json!({ "podDisruptionBudget": { "minAvailable": "50%", "maxUnavailable": null } }),
        json!({ "networkPolicy": { "enabled": true } }),
        json!({ "networkPolicy": { "enabled": true, "clients": [{ "podSelector": {} }], "monitoring": [], "egress": [] } }),
        json!({ "podMonitor": { "enabled": true, "labels": { "release": "prometheus" } } }),
        json!({ "ingress": { "enabled": true } }),
        json!({ "ingress": { "enabled": true, "className": "nginx", "annotations": { "a": "b" },
            "hosts": ["a.example.com", "b.example.com"],
            "tls": [{ "secretName": "s", "hosts": ["a.example.com"] }] } }),
        json!({ "httpRoute": { "enabled": true, "parentRefs": [{ "name": "public", "namespace": "gateways" }],
            "hostnames": ["a.example.com"], "annotations": { "a": "b" } } }),
        json!({ "fullnameOverride": "another" }),
    ]
}

/// Values for one line of `--values`.
fn with(way: &str, feature: &Value) -> Value {
    let mut values = json!({ "allcores": { "from": way } });
    overlay(&mut values, feature);
    values
}

#[test]
fn the_linter_has_nothing_to_say() {
    must(helm().args(["lint", "--strict", CHART]));
    let values = ["--set", "image.repository=web", "--set", "command={node,server.js}"];
    must(helm().args(["lint", "--strict", CHART]).args(values));
}

#[test]
fn every_feature_is_valid_kubernetes_with_every_way_of_getting_the_binary() {
    let mut everything = json!({});
    // Those that others need have the last word.
    let needed =
        json!({ "ports": [{ "name": "http", "containerPort": 8080 }], "settings": { "HTTP": ":9180" } });
    for feature in features().iter().chain([&needed]) {
        overlay(&mut everything, feature);
    }
    // The same resource comes out of many values.
    let mut resources = BTreeMap::new();
    for feature in features().iter().chain([&everything]) {
        for way in WAYS {
            let values = with(way, feature);
            let rendered = release(&values).unwrap_or_else(|error| panic!("{values}: {error}"));
            resources.extend(rendered.into_iter().map(|resource| (resource.to_string(), resource)));
        }
    }
    validate(resources.values());
}

#[test]
fn a_resource_that_is_not_valid_would_be_found() {
    for wrong in [
        json!({ "apiVersion": "v1", "kind": "Pod", "spec": { "containers": [{ "name": "a", "imaeg": "b" }] } }),
        json!({ "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "spec": {} }),
    ] {
        assert!(std::panic::catch_unwind(|| validate([&wrong])).is_err(), "{wrong}");
    }
}

/// What is in the release by itself, and what only when it is asked for.
#[test]
fn a_release_has_what_was_asked_for() {
    let kinds = |values: Value| {
        let resources = release(&values).unwrap();
        let mut kinds: Vec<String> =
            resources.iter().map(|resource| resource["kind"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds.join(" ")
    };
    assert_eq!(kinds(json!({})), "Deployment Pod PodDisruptionBudget Service ServiceAccount");
    let on = json!({ "enabled": true });
    let everything = json!({
        "autoscaling": on, "networkPolicy": on, "podMonitor": on, "ingress": on,
        "httpRoute": { "enabled": true, "parentRefs": [{ "name": "public" }] },
        "config": { "files": { "a": "b" } },
    });
    assert_eq!(
        kinds(everything),
        "ConfigMap Deployment HTTPRoute HorizontalPodAutoscaler Ingress NetworkPolicy Pod PodDisruptionBudget PodMonitor \
         Service ServiceAccount"
    );
    let nothing = json!({
        "ports": [], "serviceAccount": { "create": false }, "podDisruptionBudget": { "enabled": false },
    });
    assert_eq!(kinds(nothing), "Deployment");
}

#[test]
fn what_belongs_together_finds_itself() {
    let values = json!({
        "networkPolicy": { "enabled": true }, "podMonitor": { "enabled": true }, "autoscaling": { "enabled": true },
        "ingress": { "enabled": true }, "podLabels": { "app.kubernetes.io/name": "not this", "team": "a" },
    });
    let resources = release(&values).unwrap();
    let spec = |kind: &str| &find(&resources, kind, "web")["spec"];
    let deployment = spec("Deployment");
    let own = &deployment["selector"]["matchLabels"];
    let labels = &deployment["template"]["metadata"]["labels"];
    assert_eq!(labels["team"], "a");
    for (name, value) in own.as_object().unwrap() {
        assert_eq!(labels[name], *value, "no value can take a pod out of its Deployment");
    }
    assert_eq!(spec("Service")["selector"], *own);
    for kind in ["PodDisruptionBudget", "PodMonitor"] {
        assert_eq!(spec(kind)["selector"]["matchLabels"], *own, "{kind}");
    }
    assert_eq!(spec("NetworkPolicy")["podSelector"]["matchLabels"], *own);
    for constraint in deployment["template"]["spec"]["topologySpreadConstraints"].as_array().unwrap() {
        assert_eq!(constraint["labelSelector"]["matchLabels"], *own);
    }
    // The pod of `helm test` is none of them.
    let test = find(&resources, "Pod", "web-test");
    assert_ne!(test["metadata"]["labels"]["app.kubernetes.io/name"], own["app.kubernetes.io/name"]);

    let container = &deployment["template"]["spec"]["containers"][0];
    let ports: Vec<&Value> =
        container["ports"].as_array().unwrap().iter().map(|port| &port["name"]).collect();
    assert_eq!(ports, ["http", "allcores"]);
    assert_eq!(spec("Service")["ports"][0]["targetPort"], "http");
    assert_eq!(spec("PodMonitor")["podMetricsEndpoints"][0]["port"], "allcores");
    assert_eq!(spec("Ingress")["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"]["name"], "http");
    // How many there are is then the autoscaler's affair.
    assert!(deployment.get("replicas").is_none());
}

#[test]
fn the_chart_and_the_program_have_one_version() {
    let chart = std::fs::read_to_string(format!("{CHART}/Chart.yaml")).unwrap();
    for line in ["version: ", "appVersion: "] {
        let line = format!("\n{line}{}\n", env!("CARGO_PKG_VERSION"));
        assert!(chart.contains(&line), "{line:?} is not in Chart.yaml");
    }
}

#[test]
fn the_notes_say_how_to_see_it_work() {
    let values = ["--set", "image.repository=web", "--set", "command={node,server.js}"];
    let mut install = helm();
    install.args(["install", "web", CHART, "--namespace", "shop", "--dry-run=client", "--output", "json"]);
    let told: Value = serde_json::from_str(&must(install.args(values))).unwrap();
    let notes = told["info"]["notes"].as_str().unwrap();
    for words in [
        "`node server.js`",
        "in 2 pods",
        "kubectl exec -n shop deployment/web -- /opt/allcores/allcores ctl status",
        "http://127.0.0.1:9180/",
        "helm test web -n shop",
        "30 s",
    ] {
        assert!(notes.contains(words), "{words:?} is not in:\n{notes}");
    }
}
