//! What is in a pod: the binary, the settings as the program reads them, the time for a stop, and no privileges.

use std::process::Command;
use std::time::Duration;

use allcores::config::settings::TABLE;
use allcores::config::value::{Patience, Value as _};
use serde_json::{Value, json};

use crate::common::run;
use crate::helm::{find, pod, release};

/// The variables of the application's container.
fn environment(pod: &Value) -> Vec<(String, String)> {
    let variables = pod["containers"][0]["env"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned();
    variables.iter().map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

fn setting(pod: &Value, name: &str) -> Option<String> {
    let name = format!("ALLCORES_{name}");
    environment(pod).into_iter().find_map(|(variable, text)| (variable == name).then_some(text))
}

#[test]
fn the_binary_comes_in_three_ways() {
    let image = pod(&json!({ "allcores": { "from": "image", "path": "/usr/local/bin/allcores" } }));
    assert_eq!(image["containers"][0]["command"], json!(["/usr/local/bin/allcores", "--"]));
    assert!(image.get("initContainers").is_none());
    assert!(image["volumes"].as_array().unwrap().iter().all(|volume| volume["name"] != "allcores"));

    let own = format!("allcores:{}", env!("CARGO_PKG_VERSION"));
    let volume = pod(&json!({ "allcores": { "from": "volume" } }));
    assert!(volume.get("initContainers").is_none());
    assert_eq!(volume["volumes"][0]["image"]["reference"], own);

    let init = pod(&json!({ "allcores": { "from": "init" } }));
    let installer = &init["initContainers"][0];
    assert_eq!(installer["image"], own);
    let path = installer["command"].as_array().unwrap().last().unwrap();
    assert_eq!(installer["command"], json!(["/allcores", "ctl", "install", path]));

    for pod in [&volume, &init] {
        let container = &pod["containers"][0];
        assert_eq!(container["command"], json!([path, "--"]));
        assert_eq!(container["args"], json!(["node", "server.js"]));
        let mount = &container["volumeMounts"][0];
        let directory = path.as_str().unwrap().strip_suffix("/allcores").unwrap();
        assert_eq!((&mount["mountPath"], &mount["readOnly"]), (&json!(directory), &json!(true)));
    }
}

/// The rules of the Pod Security Standard `restricted` that a chart can break, and two more.
#[test]
fn every_pod_is_restricted() {
    for way in ["init", "volume", "image"] {
        let resources = release(&json!({ "allcores": { "from": way } })).unwrap();
        let app = &find(&resources, "Deployment", "web")["spec"]["template"]["spec"];
        let test = &find(&resources, "Pod", "web-test")["spec"];
        for pod in [app, test] {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            assert_eq!(pod["automountServiceAccountToken"], false);
            let lists = ["containers", "initContainers"].map(|list| pod[list].as_array().cloned());
            for container in lists.into_iter().flatten().flatten() {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
                assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }), "{container}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{container}");
            }
        }
    }
}

#[test]
fn probes_ask_our_own_port_or_where_there_is_none_the_binary() {
    let names = [
        ("startupProbe", "/startupz", "startup"),
        ("readinessProbe", "/readyz", "ready"),
        ("livenessProbe", "/livez", "live"),
    ];
    for http in [":9180", "9180", "0.0.0.0:9180", "[::]:9180", "tcp://:9180"] {
        let pod = pod(&json!({ "settings": { "HTTP": http } }));
        let container = &pod["containers"][0];
        assert_eq!(
            container["ports"][1],
            json!({ "name": "allcores", "containerPort": 9180, "protocol": "TCP" })
        );
        for (probe, path, _) in names {
            assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "allcores" }), "{http}");
        }
    }
    for http in [json!(null), json!(""), json!("127.0.0.1:9180"), json!("[::1]:9180")] {
        let pod = pod(&json!({ "settings": { "HTTP": http } }));
        let container = &pod["containers"][0];
        assert_eq!(container["ports"].as_array().unwrap().len(), 1);
        for (probe, _, name) in names {
            let command = json!(["/opt/allcores/allcores", "ctl", "check", name]);
            assert_eq!(container[probe]["exec"]["command"], command, "{http}");
        }
    }
}

/// The chart reads times as the program does.
#[test]
fn the_kubelet_waits_as_long_as_a_stop_can_take() {
    let grace =
        |settings: Value| pod(&json!({ "settings": settings }))["terminationGracePeriodSeconds"].clone();
    let read = |text: &str| match Patience::read(text).unwrap() {
        Patience::For(time) => time,
        Patience::Forever => panic!("{text}"),
    };
    let times = ["0", "1", "08", "250ms", "1001ms", "5s", "2m", "1h30m", "1m 30s", "1h1m1s1ms", "100s"];
    for (drain, stop) in times.into_iter().zip(times.into_iter().rev()) {
        let sum = read(drain) + read(stop);
        let expected = (sum + Duration::from_millis(999)).as_secs() + 5;
        assert_eq!(grace(json!({ "DRAIN_DELAY": drain, "STOP_TIMEOUT": stop })), expected, "{drain} {stop}");
    }
    assert_eq!(grace(json!({})), 30, "what Kubernetes itself would wait");
    assert_eq!(grace(json!({ "DRAIN_DELAY": 3, "STOP_TIMEOUT": 0 })), 8, "numbers are numbers");
    assert_eq!(grace(json!({ "DRAIN_DELAY": false, "STOP_TIMEOUT": 1 })), 6, "YAML's off");

    let default = |field: &str| read(TABLE.iter().find(|row| row.field == field).unwrap().default);
    let defaults = default("drain_delay") + default("stop_timeout");
    let unset = grace(json!({ "DRAIN_DELAY": null, "STOP_TIMEOUT": "" }));
    assert_eq!(unset, defaults.as_secs() + 5, "the program's own defaults");

    let explicit = json!({ "settings": { "STOP_TIMEOUT": false }, "terminationGracePeriodSeconds": 90 });
    assert_eq!(pod(&explicit)["terminationGracePeriodSeconds"], 90);
    assert_eq!(setting(&pod(&explicit), "STOP_TIMEOUT").as_deref(), Some("off"));
}

/// Whatever the chart says to the program, it understands.
#[test]
fn the_program_accepts_the_settings_that_it_is_given() {
    let mut examples: Value =
        TABLE.iter().map(|row| (row.field.to_uppercase(), json!(row.example))).collect();
    // More than that, a machine may not allow.
    examples["NOFILE"] = json!(64);
    let mut reload = json!({ "config": { "files": { "a": "b" } } });
    reload["settings"] = json!({ "RELOAD_ON_CHANGE": "/etc/hosts", "BACKLOG": 4096, "NO_NEW_PRIVS": true });
    for values in [json!({}), json!({ "settings": examples }), reload] {
        let environment = environment(&pod(&values));
        let mut check = Command::new(env!("CARGO_BIN_EXE_allcores"));
        check.env_clear().envs(environment.iter().map(|(name, text)| (name, text)));
        let ended = run(check.args(["--check", "--", "true"]));
        assert_eq!(ended.code, 0, "{}", ended.text);
        assert!(!ended.text.contains("is no setting"), "{}", ended.text);
    }
}

#[test]
fn a_change_of_the_configuration_does_what_was_asked_for() {
    let files = json!({ "app.json": "{}" });
    let template = |values: Value| {
        let resources = release(&values).unwrap();
        let template = find(&resources, "Deployment", "web")["spec"]["template"].clone();
        (
            setting(&template["spec"], "RELOAD_ON_CHANGE"),
            template["metadata"]["annotations"]["checksum/config"].clone(),
        )
    };
    let (reload, checksum) = template(json!({ "config": { "files": files, "mountPath": "/config" } }));
    assert_eq!((reload.as_deref(), checksum), (Some("/config"), Value::Null), "the pods stay");
    let both = json!({ "config": { "files": files }, "settings": { "RELOAD_ON_CHANGE": "/tls" } });
    assert_eq!(template(both).0.as_deref(), Some("/tls,/etc/app"));

    let restart =
        |text: &str| template(json!({ "config": { "files": { "a": text }, "onChange": "restart" } }));
    assert_eq!(restart("1").0, None);
    assert_ne!(restart("1").1, restart("2").1, "the pods are replaced");
    assert_eq!(template(json!({ "config": { "files": files, "onChange": "ignore" } })), (None, Value::Null));
    assert_eq!(template(json!({})).0, None);
}
