//! The command line, and what is printed for it. Only this module chooses stores and publishers.

mod alert;
mod args;
mod console;
mod error;
pub mod help;
mod list_failed;
mod reset;
mod retry;
mod run;
mod stats;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::environment::{Environment, Secrecy};
use crate::platform::{AssetStore, Http, Pacing, PollSettings, PublisherDeps, publishers};
use crate::report::{NoopListener, ProgressListener};
use crate::retry::{Listener, RetryContext, Shutdown, StoreClock};
use crate::settings::{Overrides, Settings, SettingsError, variables};
use crate::store::{self, PostStore, TokenStore};

pub use args::{Cli, Command, Format, Global, When};
use console::Console;
pub use error::{AppError, Exit};

/// Runs the command line to its exit code.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let environment: Vec<(OsString, OsString)> = environment.into_iter().collect();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            return wrong_usage(&error).into();
        }
    };
    let console = Console::new(&cli.global, &environment);
    console.start_log(&cli.global, &environment);
    match start(&cli, environment, &console) {
        Ok(exit) => exit.into(),
        Err(error) => {
            console.problem(&error.to_string(), error.hint());
            error.exit().into()
        }
    }
}

/// Writes what is wrong with the command line, in the form of all errors. Help and version also arrive here; they are
/// results. A closed pipe is not an error.
fn wrong_usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        drop(error.print());
        return Exit::Done;
    }
    match error::usage(error) {
        Some((problem, hint)) => console::say(&error::render(&problem, Some(&hint), false)),
        None => drop(error.print()),
    }
    Exit::Usage
}

fn start(cli: &Cli, environment: Vec<(OsString, OsString)>, console: &Console) -> Result<Exit, AppError> {
    check_format(cli)?;
    if let Command::Reset(args) = &cli.command {
        reset::check(args)?;
    }
    let operator = operator(&environment);
    let environment = Environment::load(environment, cli.global.env_file.as_deref()).map_err(SettingsError::from)?;
    for variable in variables().filter(|variable| variable.secret == Secrecy::Secret) {
        if let Some(value) = environment.value(variable.name) {
            // Errors name the store's address, of which only the password is a secret.
            match variable.name {
                "MONGODB_URI" | "POSTRETRY_STORE" => console.redactor().add_password_of(value),
                _ => console.redactor().add(value),
            }
        }
    }
    let overrides = Overrides {
        store: cli.global.store.clone(),
        concurrency: match &cli.command {
            Command::Run(args) => args.concurrency.map(usize::from),
            _ => None,
        },
    };
    let settings = Settings::resolve(&environment, &overrides)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| AppError::System { action: "start", problem: error.to_string() })?;
    let format = cli.global.format;
    let exit = runtime.block_on(async {
        match &cli.command {
            Command::Run(args) => run::run(args, format, &settings, console).await,
            Command::ListFailed(args) => list_failed::run(args, format, &settings, console).await,
            Command::Retry(args) => retry::run(args, format, &settings, console, &operator).await,
            Command::Reset(args) => reset::run(args, format, &settings, console, &operator).await,
            Command::Stats(args) => stats::run(args, format, &settings, console).await,
        }
    });
    // Background tasks end with the process. If they were dropped here one by one, some tasks of the MongoDB driver
    // would panic because others are gone. A connection that does not close must not delay the end of the
    // process either.
    std::mem::forget(runtime);
    exit
}

/// Checks the two formats that only one command supports.
fn check_format(cli: &Cli) -> Result<(), AppError> {
    let problem = match (cli.global.format, &cli.command) {
        (Format::Csv, Command::ListFailed(args)) if args.id.is_none() => return Ok(()),
        (Format::Csv, _) => "`--format csv` works only for `list-failed` without an ID",
        (Format::Prometheus, Command::Stats(_)) => return Ok(()),
        (Format::Prometheus, _) => "`--format prometheus` works only for `stats`",
        (Format::Table | Format::Json, _) => return Ok(()),
    };
    Err(AppError::Usage {
        problem: problem.to_owned(),
        hint: Some("`--format json` works for every command".to_owned()),
    })
}

/// Opens the store and reads its clock. This also detects a store that cannot be reached.
async fn open_store(settings: &Settings) -> Result<(Arc<dyn PostStore>, StoreClock), AppError> {
    let store = store::open(&settings.store).await?;
    let clock = StoreClock::set_by(store.as_ref()).await?;
    Ok((store, clock))
}

/// Builds everything that attempts need.
async fn build_context(settings: &Settings, console: &Console) -> Result<RetryContext, AppError> {
    let root = &settings.assets.root;
    let assets = AssetStore::new(root, settings.assets.public_url.clone()).map_err(|error| AppError::Unsuitable {
        problem: format!("setting `POST_ASSET_ROOT` is not a readable directory: `{}`: {error}", root.display()),
        hint: Some("set it to the directory that contains the videos and images".to_owned()),
    })?;
    let shutdown = Shutdown::on_signals()
        .map_err(|error| AppError::System { action: "listen for signals", problem: error.to_string() })?;
    let (store, clock) = open_store(settings).await?;
    let http = Http::new(settings.http)
        .map_err(|error| AppError::System { action: "set up HTTPS", problem: error.to_string() })?;
    let deps = PublisherDeps {
        http,
        assets: Arc::new(assets),
        poll: PollSettings { first: settings.pass.poll, total: settings.pass.wait },
        tokens: Arc::clone(&store) as Arc<dyn TokenStore>,
        redactor: console.redactor().clone(),
        pacing: if settings.pass.gap.is_zero() { Pacing::Unlimited } else { Pacing::Limited },
    };
    let listener: Arc<dyn Listener> = match console.progress() {
        Some(lines) => Arc::new(ProgressListener::new(lines)),
        None => Arc::new(NoopListener),
    };
    let publishers = publishers(&settings.platforms, &deps).into_iter();
    Ok(RetryContext {
        store,
        publishers: publishers.map(|publisher| (publisher.platform(), publisher)).collect(),
        clock,
        host: host_name(),
        policy: settings.policy,
        config: settings.pass.clone(),
        shutdown,
        listener,
    })
}

/// Who runs the command, for the history: the user behind `sudo`, if there is one, and this machine.
fn operator(environment: &[(OsString, OsString)]) -> String {
    let value = |wanted: &str| {
        let set = environment.iter().find(|(name, _)| name == wanted)?.1.to_str()?;
        (!set.is_empty()).then(|| set.to_owned())
    };
    let user = ["SUDO_USER", "LOGNAME", "USER"].into_iter().find_map(value);
    format!("{}@{}", user.as_deref().unwrap_or("unknown"), host_name())
}

/// This machine's name, for claims and histories.
fn host_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().trim().to_owned();
    if name.is_empty() { "unknown-host".to_owned() } else { name }
}
