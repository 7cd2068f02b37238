//! Wrong values are told, all at once, by name and with a remedy.

use serde_json::json;

use crate::helm::{release, template};

#[test]
fn wrong_values_are_told_by_name() {
    let on = json!({ "enabled": true });
    let cases = [
        // What the schema sees.
        (json!({ "settings": { "STOP_TIMEOT": "5s" } }), "additional properties 'STOP_TIMEOT' not allowed"),
        (json!({ "settings": { "LISTEN": ["8080"] } }), "at '/settings/LISTEN': got array"),
        (json!({ "replica": 3 }), "additional properties 'replica' not allowed"),
        (json!({ "replicas": "many" }), "at '/replicas': got string, want integer"),
        (json!({ "command": "node server.js" }), "at '/command': got string, want array"),
        (json!({ "allcores": { "from": "heaven" } }), "at '/allcores/from'"),
        (json!({ "allcores": { "path": "allcores" } }), "at '/allcores/path'"),
        (json!({ "image": { "digest": "1234" } }), "at '/image/digest'"),
        (json!({ "ports": [{ "name": "HTTP", "containerPort": 80 }] }), "at '/ports/0/name'"),
        (json!({ "ports": [{ "name": "http", "containerPort": 99999 }] }), "at '/ports/0/containerPort'"),
        (json!({ "config": { "files": { "a": 1 } } }), "at '/config/files/a': got number, want string"),
        (json!({ "config": { "onChange": "reboot" } }), "at '/config/onChange'"),
        (json!({ "config": null }), "missing property 'config'"),
        (json!({ "probes": { "liveness": { "httpGet": {} } } }), "at '/probes/liveness'"),
        (json!({ "terminationGracePeriodSeconds": "1m" }), "at '/terminationGracePeriodSeconds'"),
        (
            json!({ "podDisruptionBudget": { "maxUnavailable": "one" } }),
            "at '/podDisruptionBudget/maxUnavailable'",
        ),
        // What only the chart knows.
        (json!({ "image": { "repository": "" } }), "image.repository: the application's image is needed"),
        (json!({ "command": [] }), "command: what allcores shall run is needed"),
        (
            json!({ "settings": { "STOP_TIMEOUT": "5 parsecs" } }),
            "settings.STOP_TIMEOUT: \"5 parsecs\" is no time",
        ),
        (json!({ "settings": { "DRAIN_DELAY": 0.5 } }), "settings.DRAIN_DELAY: \"0.5\" is no time"),
        (json!({ "settings": { "STOP_TIMEOUT": "off" } }), "say with terminationGracePeriodSeconds"),
        (json!({ "settings": { "STOP_TIMEOUT": false } }), "say with terminationGracePeriodSeconds"),
        (
            json!({ "terminationGracePeriodSeconds": 24 }),
            "terminationGracePeriodSeconds: 24 is less than the 25 s of DRAIN_DELAY + STOP_TIMEOUT",
        ),
        (json!({ "settings": { "CONTROL": false, "HTTP": null } }), "settings.CONTROL: probes need it"),
        (
            json!({ "ports": [{ "name": "allcores", "containerPort": 80 }] }),
            "ports: two are called \"allcores\"",
        ),
        (json!({ "ports": [{ "name": "http", "containerPort": 9180 }] }), "ports: two are 9180"),
        (
            json!({ "podMonitor": on, "settings": { "HTTP": null } }),
            "podMonitor.enabled: metrics need settings.HTTP",
        ),
        (json!({ "ingress": on, "ports": [] }), "ingress.enabled: there is nothing to lead to"),
        (json!({ "httpRoute": on }), "httpRoute.parentRefs: the Gateway is needed"),
        (
            json!({ "podDisruptionBudget": { "minAvailable": 1 } }),
            "one of minAvailable and maxUnavailable has to be null",
        ),
        (
            json!({ "autoscaling": { "enabled": true, "minReplicas": 11 } }),
            "autoscaling.minReplicas: it is more",
        ),
        (
            json!({ "autoscaling": on, "resources": { "requests": null, "limits": null } }),
            "it is a share of resources.requests.cpu, which is not set",
        ),
        (
            json!({ "autoscaling": { "enabled": true, "targetCPUUtilizationPercentage": null } }),
            "autoscaling.metrics: without targetCPUUtilizationPercentage one is needed",
        ),
    ];
    for (values, told) in cases {
        let error = release(&values).expect_err(&format!("{values} should be refused"));
        assert!(error.contains(told), "{values}: no {told:?} in:\n{error}");
        assert!(!error.contains("nil pointer"), "{values}: {error}");
    }
}

#[test]
fn one_mistake_does_not_hide_the_next() {
    let error = template(&json!({ "settings": { "STOP_TIMEOUT": "x", "DRAIN_DELAY": "y" } })).unwrap_err();
    for told in [
        "wrong values: 4",
        "image.repository:",
        "command:",
        "settings.STOP_TIMEOUT:",
        "settings.DRAIN_DELAY:",
    ] {
        assert!(error.contains(told), "no {told:?} in:\n{error}");
    }
}
