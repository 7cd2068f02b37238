//! The text of every setting, from wherever it came, and the problems that it has.

use std::ffi::OsString;

use super::Problem;
use super::environment::Environment;
use super::kinds::WorkerCount;
use super::settings::{Mistake, PREFIX, TABLE};
use super::value::Value;

/// Where the text of a setting came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// `WEB_CONCURRENCY`.
    WebConcurrency,
    /// The table.
    Default,
}

/// The text of every setting, from wherever it came.
pub struct Texts {
    /// Text and source, row by row of the table.
    pub rows: Vec<(String, Source)>,
    /// What is wrong with them, as far as it is known.
    pub problems: Vec<Problem>,
    /// Whether `WEB_CONCURRENCY` is the number of workers.
    pub web_concurrency: bool,
}

impl Texts {
    /// A flag wins over the environment, and the environment over the default.
    pub fn gather(flags: &[(&'static str, OsString)], environment: &Environment) -> Self {
        let rows = TABLE.iter().map(|row| (row.default.to_owned(), Source::Default)).collect();
        let mut texts = Self { rows, problems: Vec::new(), web_concurrency: false };
        if let Some(count) = &environment.web_concurrency {
            texts.set("workers", count, Source::WebConcurrency);
            texts.web_concurrency = true;
        }
        for (variable, value) in &environment.settings {
            let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
            if let Some(row) = TABLE.iter().find(|row| row.field.eq_ignore_ascii_case(rest)) {
                texts.set(row.field, value, Source::Environment);
            }
        }
        for (field, value) in flags {
            texts.set(field, value, Source::Flag);
        }
        texts.web_concurrency = texts.rows.iter().any(|(_, source)| *source == Source::WebConcurrency);
        texts
    }

    fn set(&mut self, field: &str, value: &OsString, source: Source) {
        let index = index(field);
        let Some(text) = value.to_str() else {
            let mut problem = self.problem(field, "it is not UTF-8".to_owned());
            problem.value = value.to_string_lossy().into_owned();
            self.problems.push(problem);
            return;
        };
        match &mut self.rows[index] {
            // -l is repeatable: each adds its sockets.
            (listen, Source::Flag) if field == "listen" && source == Source::Flag => {
                listen.push(',');
                listen.push_str(text);
            }
            row if text.is_empty() => *row = (TABLE[index].default.to_owned(), Source::Default),
            row => *row = (text.to_owned(), source),
        }
    }

    /// What was given, as variable and text.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let given = TABLE.iter().zip(&self.rows).filter(|(_, (_, source))| *source != Source::Default);
        given.map(|(row, (text, _))| (row.variable(), text.clone())).collect()
    }

    /// Makes problems of mistakes, with everything that whoever made them needs to know.
    pub fn complain(&mut self, mistakes: Vec<Mistake>) {
        for (field, complaint) in mistakes {
            let problem = self.problem(field, complaint);
            self.problems.push(problem);
        }
    }

    fn problem(&self, field: &str, complaint: String) -> Problem {
        let row = TABLE[index(field)];
        let (text, source) = &self.rows[index(field)];
        let (variable, expected) = match source {
            Source::WebConcurrency => ("WEB_CONCURRENCY".to_owned(), WorkerCount::EXPECTED),
            Source::Flag | Source::Environment | Source::Default => (row.variable(), row.expected),
        };
        Problem {
            variable,
            value: text.clone(),
            complaint,
            expected: expected.to_owned(),
            example: row.example.to_owned(),
        }
    }
}

fn index(field: &str) -> usize {
    TABLE.iter().position(|row| row.field == field).unwrap_or(0)
}
