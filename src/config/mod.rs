//! The contract with whoever deploys us: what was asked for, made valid, or everything that is wrong with it.
//!
//! Decides what the settings mean together (the mode, how many workers, whether they restart). Refuses to know
//! sockets, processes and the clock; after it, nothing looks at the environment again.

pub mod address;
pub mod cli;
pub mod environment;
pub mod kinds;
pub mod report;
pub mod settings;
pub mod value;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use cli::Invocation;
use environment::Environment;
use kinds::{MOST_WORKERS, ModeChoice, Ready, RestartChoice, WorkerCount};
use settings::{Mistake, PREFIX, Settings, TABLE};
use value::{Tristate, Value};

/// How workers get their connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All workers share the sockets that we bound.
    Inherit,
    /// Each slot has sockets of its own, and the kernel spreads connections over them.
    Reuseport,
    /// Each worker binds `PORT`.
    Ports,
    /// We have nothing to do with connections.
    Plain,
}

impl Mode {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inherit => "inherit",
            Self::Reuseport => "reuseport",
            Self::Ports => "ports",
            Self::Plain => "plain",
        }
    }
}

/// Which deaths are followed by a new worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// All.
    Always,
    /// Those with a code other than 0.
    OnFailure,
    /// None.
    Never,
}

/// The cores that the container really has, and how we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// At least 1.
    pub count: u16,
    /// A phrase for people.
    pub why: String,
}

/// What we find, as values.
pub struct Surroundings {
    /// Our environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Our pid.
    pub pid: u32,
    /// Finds the container's cores, if anybody asks: it takes a while.
    pub cores: fn() -> Cores,
    /// Whether we are the foreground of a terminal, and so may hand it on.
    pub terminal: bool,
}

/// One thing that is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// Its text.
    pub value: String,
    /// What is wrong in particular, or empty.
    pub complaint: String,
    /// What would be right.
    pub expected: String,
    /// A text that would be accepted.
    pub example: String,
}

/// Why there is no valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Everything that is wrong; never empty.
    pub problems: Vec<Problem>,
    /// What is odd beside it.
    pub warnings: Vec<String>,
    /// Where the reason of the end goes even now.
    pub termination_log: Option<PathBuf>,
}

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

/// Everything that was asked for, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// COMMAND and its arguments; never empty.
    pub command: Vec<OsString>,
    /// The settings as they were asked for.
    pub settings: Settings,
    /// How workers get their connections.
    pub mode: Mode,
    /// How many workers there are, at least 1.
    pub workers: u16,
    /// Why that many.
    pub workers_why: String,
    /// Which deaths are followed by a new worker.
    pub restart: Restart,
    /// How long a worker must live to be ready.
    pub ready_after: Duration,
    /// Whether workers are kept from gaining privileges.
    pub no_new_privs: bool,
    /// Whether the one worker of `plain` is to be the terminal's foreground.
    pub terminal: bool,
    /// Names of the sockets that were passed to us, from descriptor 3 on.
    pub activation: Vec<String>,
    /// What workers inherit of our environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What is odd, but no reason not to start.
    pub warnings: Vec<String>,
    /// Text and source of every row of the table, for `--check`.
    pub texts: Vec<(String, Source)>,
}

impl Config {
    /// Makes sense of flags and surroundings, or says everything that is wrong.
    pub fn new(invocation: Invocation, surroundings: Surroundings) -> Result<Self, Invalid> {
        let mut environment = Environment::sort(surroundings.environment, surroundings.pid);
        let mut texts = Texts::gather(&invocation.flags, &environment);
        let (settings, mistakes) = settings::read(texts.pairs());
        texts.problems.extend(
            mistakes
                .into_iter()
                .map(|(field, complaint)| texts.problem(field, complaint))
                .collect::<Vec<_>>(),
        );

        let has_sockets = settings.listen.as_ref().is_some_and(|listen| !listen.0.is_empty())
            || !environment.activation.is_empty();
        let mode = mode(&settings, has_sockets);
        let (workers, workers_why) = workers(&settings, mode, surroundings.cores);
        let misfits = misfits(&settings, mode, workers, has_sockets);
        texts.problems.extend(
            misfits.into_iter().map(|(field, complaint)| texts.problem(field, complaint)).collect::<Vec<_>>(),
        );
        let mut warnings: Vec<String> = environment.unknown.iter().map(|name| unknown(name)).collect();
        if !texts.problems.is_empty() {
            return Err(Invalid {
                problems: texts.problems,
                warnings,
                termination_log: settings.termination_log,
            });
        }

        if has_sockets && matches!(mode, Mode::Ports | Mode::Plain) {
            warnings.push(format!(
                "LISTEN is not used in mode {}; set {PREFIX}MODE=inherit to share its sockets",
                mode.name()
            ));
        }
        if texts.web_concurrency {
            // A worker that reads it too (gunicorn, uvicorn) would multiply the workers by themselves.
            environment.withhold("WEB_CONCURRENCY");
        }
        let single_plain = mode == Mode::Plain && workers == 1;
        Ok(Self {
            command: invocation.command,
            mode,
            workers,
            workers_why,
            restart: match settings.restart {
                RestartChoice::Auto if single_plain => Restart::Never,
                RestartChoice::Auto | RestartChoice::Always => Restart::Always,
                RestartChoice::OnFailure => Restart::OnFailure,
                RestartChoice::Never => Restart::Never,
            },
            ready_after: match settings.ready {
                Ready::Auto => Duration::from_secs(1),
                Ready::Alive(time) => time,
            },
            no_new_privs: match settings.no_new_privs {
                Tristate::Auto => settings.user.is_some(),
                Tristate::On => true,
                Tristate::Off => false,
            },
            terminal: single_plain && surroundings.terminal,
            activation: environment.activation,
            environment: environment.inherited,
            warnings,
            texts: texts.rows,
            settings,
        })
    }
}

fn mode(settings: &Settings, has_sockets: bool) -> Mode {
    match settings.mode {
        ModeChoice::Auto if has_sockets => Mode::Inherit,
        ModeChoice::Auto if settings.first_port.is_some() => Mode::Ports,
        ModeChoice::Auto | ModeChoice::Plain => Mode::Plain,
        ModeChoice::Inherit => Mode::Inherit,
        ModeChoice::Reuseport => Mode::Reuseport,
        ModeChoice::Ports => Mode::Ports,
    }
}

/// What each setting allows, but not all of them together.
fn misfits(settings: &Settings, mode: Mode, workers: u16, has_sockets: bool) -> Vec<Mistake> {
    let complaint = match mode {
        Mode::Inherit | Mode::Reuseport if !has_sockets => {
            ("listen", format!("mode {} needs sockets, and LISTEN names none", mode.name()))
        }
        Mode::Ports => match settings.first_port {
            None => ("first_port", "mode ports needs it".to_owned()),
            Some(first) if u32::from(first) + u32::from(workers) - 1 > 65535 => {
                ("first_port", format!("{workers} workers from there on would go beyond port 65535"))
            }
            Some(_) => return Vec::new(),
        },
        Mode::Inherit | Mode::Reuseport | Mode::Plain => return Vec::new(),
    };
    vec![complaint]
}

fn workers(settings: &Settings, mode: Mode, cores: fn() -> Cores) -> (u16, String) {
    match settings.workers {
        WorkerCount::Auto if mode == Mode::Plain => (1, "one in plain".to_owned()),
        WorkerCount::Auto => {
            let Cores { count, why } = cores();
            (count.min(MOST_WORKERS), why)
        }
        WorkerCount::Number(number) => (number, "as set".to_owned()),
        WorkerCount::Share(percent) => {
            let Cores { count, why } = cores();
            let number =
                (u32::from(count) * u32::from(percent)).div_ceil(100).clamp(1, u32::from(MOST_WORKERS));
            (number as u16, format!("{percent}% of {why}"))
        }
    }
}

fn unknown(name: &str) -> String {
    let known: Vec<String> = TABLE.iter().map(settings::Row::variable).collect();
    match nearest(name, known.iter().map(String::as_str)) {
        Some(known) => format!("{name} is no setting and is not used; did you mean {known}?"),
        None => format!("{name} is no setting and is not used; see allcores --help"),
    }
}

/// The known word that differs from `word` in the fewest letters, if it is near enough to be meant.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&str| distance(word, candidate);
    known.min_by_key(near).filter(|candidate| distance(word, candidate) <= 3)
}

/// Levenshtein's distance, over bytes: names are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// The text of every setting, from wherever it came.
struct Texts {
    rows: Vec<(String, Source)>,
    problems: Vec<Problem>,
    web_concurrency: bool,
}

impl Texts {
    /// A flag wins over the environment, and the environment over the default.
    fn gather(flags: &[(&'static str, OsString)], environment: &Environment) -> Self {
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

    fn pairs(&self) -> Vec<(String, String)> {
        let given = TABLE.iter().zip(&self.rows).filter(|(_, (_, source))| *source != Source::Default);
        given.map(|(row, (text, _))| (row.variable(), text.clone())).collect()
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
