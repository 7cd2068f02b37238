//! helm, and what it makes of the chart.

#![allow(dead_code, reason = "each crate uses its part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::common::{must, run};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart");
/// Where the chart is.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/helm/allcores");

/// Where helm and the validators are installed, which is done once for all tests.
pub fn installed() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chart");
        must(Command::new(format!("{HERE}/setup.sh")).arg(&directory));
        directory
    })
}

/// helm, with nothing of this machine's user in it.
pub fn helm() -> Command {
    let mut helm = Command::new(installed().join("helm/helm"));
    helm.env_clear().env("HOME", env!("CARGO_TARGET_TMPDIR"));
    helm
}

fn python() -> Command {
    Command::new(installed().join("venv/bin/python"))
}

/// `helm template`: the resources, or what helm complains of.
pub fn template(values: &Value) -> Result<Vec<Value>, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(values.to_string().as_bytes()).unwrap();
    let mut template = helm();
    template.args(["template", "web", CHART, "--namespace", "shop", "--values"]).arg(file.path());
    let ended = run(&mut template);
    if ended.code != 0 {
        return Err(ended.text);
    }
    let convert = "import json, sys, yaml
print(json.dumps([text for text in yaml.load_all(sys.stdin, yaml.CSafeLoader) if text]))";
    let told = feed(python().args(["-c", convert]), &ended.output);
    Ok(serde_json::from_str(&told).unwrap())
}

/// `helm template` with what every release needs, and these values over it.
pub fn release(values: &Value) -> Result<Vec<Value>, String> {
    let mut all = json!({
        "image": { "repository": "registry.example.com/web", "tag": "1" },
        "command": ["node", "server.js"],
    });
    overlay(&mut all, values);
    template(&all)
}

/// Lays values over others, as helm does.
pub fn overlay(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, value) in above {
                overlay(below.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}

/// The one resource of this kind and name.
pub fn find<'a>(resources: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let fits = |resource: &&Value| resource["kind"] == kind && resource["metadata"]["name"] == name;
    let found: Vec<&Value> = resources.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// The template of the Deployment's pods.
pub fn pod(values: &Value) -> Value {
    let resources = release(values).unwrap_or_else(|error| panic!("{values}: {error}"));
    find(&resources, "Deployment", "web")["spec"]["template"]["spec"].clone()
}

/// Holds resources to Kubernetes' schemas and to those of others.
pub fn validate<'a>(resources: impl IntoIterator<Item = &'a Value>) {
    let is_own =
        |resource: &&Value| !["PodMonitor", "HTTPRoute"].contains(&resource["kind"].as_str().unwrap());
    let (own, others): (Vec<&Value>, Vec<&Value>) = resources.into_iter().partition(is_own);
    let versions = feed(python().arg(format!("{HERE}/validate.py")), &json!(own).to_string());
    println!("{} of Kubernetes {versions}, {} of others", own.len(), others.len());
    let mut node = Command::new("node");
    feed(node.arg(format!("{HERE}/validate.mjs")).arg(installed().join("node")), &json!(others).to_string());
}

/// Runs a program that has to succeed with this as its standard input, and gives its output.
fn feed(command: &mut Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?} failed");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
