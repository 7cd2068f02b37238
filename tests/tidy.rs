//! Is the house in order? The rules that a machine can check, and the documents against the tables in the source.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use allcores::config::kinds::Request;
use allcores::config::report;
use allcores::config::settings::TABLE;
use allcores::ctl::task;
use allcores::exit;
use allcores::observe::{metrics, routes, shown};
use allcores::signal::Signal;
use allcores::supervisor::requests::{Column, default};

fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|end| end == "rs") => {
                    let text = fs::read_to_string(&path).unwrap();
                    found.push((path, text));
                }
                _ => {}
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no source");
    found
}

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The program without its test modules and comments.
fn code(text: &str) -> String {
    let program = text.split("#[cfg(test)]").next().unwrap_or_default();
    program.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_decides_does_not_touch_the_world() {
    let world =
        ["std::fs", "std::process", "std::thread", "std::env", "std::os", "std::io", "Instant", "SystemTime"];
    let crates =
        ["libc::", "nix::", "mio::", "tracing::", "crate::system", "crate::observe", "async ", "HashMap"];
    for (path, text) in ["src/supervisor", "src/config", "src/cluster"].into_iter().flat_map(files) {
        for word in world.iter().chain(&crates) {
            assert!(!code(&text).contains(word), "{}: {word} belongs above the line", path.display());
        }
    }
    for (path, text) in files("src/config") {
        assert!(
            !code(&text).contains("crate::supervisor"),
            "{}: config does not know who decides",
            path.display()
        );
    }
}

#[test]
fn unsafe_is_below_system_and_has_its_reason() {
    for (path, text) in files("src") {
        let is_system = path.components().any(|part| part.as_os_str() == "system");
        assert!(is_system || !code(&text).contains("unsafe "), "{}: unsafe outside system", path.display());
    }
}

#[test]
fn there_is_one_reaper_and_one_reader_of_the_clock() {
    for (word, place) in [("waitpid(", "process.rs"), ("Instant::now", "clock.rs"), ("vars_os", "main.rs")] {
        let places: Vec<_> = files("src")
            .into_iter()
            .filter(|(_, text)| code(text).contains(word))
            .map(|(path, _)| path)
            .collect();
        assert!(places.len() == 1 && places[0].ends_with(place), "{word} is in {places:?}");
    }
}

#[test]
fn a_file_has_one_subject_and_says_which() {
    for (path, text) in files("src").into_iter().chain(files("tests")) {
        assert!(text.lines().count() <= 400, "{}: past 400 lines a file has two subjects", path.display());
        let opens = text.starts_with("//!") || text.starts_with("#![doc");
        assert!(opens, "{}: a file opens with what it is about", path.display());
    }
}

/// What stands between two marks in the README.
fn section(name: &str) -> String {
    let readme = readme();
    let (_, rest) = readme.split_once(&format!("<!-- {name} -->\n")).unwrap();
    rest.split_once(&format!("<!-- /{name} -->")).unwrap().0.to_owned()
}

#[track_caller]
fn assert_section(name: &str, expected: &str) {
    assert!(section(name) == expected, "the README's part '{name}' should be:\n{expected}");
}

#[test]
fn the_readmes_settings_are_the_tables() {
    assert_section("settings", &report::markdown());
}

/// One line a setting, so that a new one is one line more.
#[test]
fn the_charts_settings_are_the_tables() {
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let lines = TABLE.iter().map(|row| {
        let (name, default) = (json(&row.field.to_uppercase()), json(row.default));
        let meaning = json(&row.meaning.replace('`', ""));
        format!(
            "        {name}: {{\"$ref\": \"#/definitions/setting\", \"default\": {default}, \"description\": {meaning}}}"
        )
    });
    let expected = lines.collect::<Vec<_>>().join(",\n");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("helm/allcores/values.schema.json");
    let schema = fs::read_to_string(&file).unwrap();
    let properties =
        format!("\"additionalProperties\": false,\n      \"properties\": {{\n{expected}\n      }}\n");
    assert!(schema.contains(&properties), "the settings in {} should be:\n{expected}", file.display());
}

#[test]
fn the_readmes_routes_metrics_fields_and_tasks_are_the_tables() {
    assert_section("routes", &routes::markdown());
    assert_section("metrics", &metrics::markdown());
    assert_section("status", &shown::markdown());
    assert_section("ctl", &task::markdown());
}

#[test]
fn help_has_every_task() {
    for (word, argument, _) in task::table() {
        assert!(task::help().contains(&format!("  {word} {argument}")), "{word}");
    }
}

#[test]
fn help_has_every_setting() {
    for row in TABLE {
        assert!(report::help().contains(&format!("--{}", row.flag())), "{}", row.field);
    }
}

/// What a signal asks for, in words.
fn word(signal: Signal, column: Column) -> &'static str {
    match default(signal, column) {
        Request::Stop => "stop",
        Request::Quit => "quit",
        Request::Reload => "reload",
        Request::More => "one worker more",
        Request::Less => "one worker less",
        Request::Forward(_) => "forward",
        Request::Ignore => "ignore",
        Request::Suspend => "suspend worker and ourselves, on a terminal",
    }
}

#[test]
fn the_readmes_signals_are_the_tables() {
    let mut rows: BTreeMap<Vec<&str>, Vec<String>> = BTreeMap::new();
    let heard =
        Signal::all().filter(|signal| !signal.is_fault() && ![Signal::KILL, Signal::STOP].contains(signal));
    // All real-time signals are alike: 32 and 33 are the C library's own.
    for signal in heard.filter(|signal| signal.number() < 32 || signal.number() == 34) {
        let name = if signal.number() == 34 { "RTMIN…RTMAX".to_owned() } else { signal.to_string() };
        let row = [Column::Single, Column::Plain, Column::Pool, Column::Cluster]
            .map(|column| word(signal, column))
            .to_vec();
        rows.entry(row).or_default().push(name);
    }
    let mut expected = String::from(
        "| signal | `plain`, one worker | `plain`, several | a pool | `cluster` |\n|---|---|---|---|---|\n",
    );
    for (row, names) in rows.iter().rev() {
        expected.push_str(&format!("| {} | {} |\n", names.join(", "), row.join(" | ")));
    }
    assert_section("signals", &expected);
}

#[test]
fn the_readmes_exit_codes_are_the_sources() {
    let readme = readme();
    let codes = [
        exit::USAGE,
        exit::BUG,
        exit::SYSTEM,
        exit::SETTINGS,
        exit::NOT_EXECUTABLE,
        exit::NOT_FOUND,
        exit::KILLED,
    ];
    for code in codes {
        assert!(readme.contains(&format!("\n| {code} | ")), "the README does not tell exit code {code}");
    }
}
