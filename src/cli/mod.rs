//! The command line, and what is printed for it. Only this module chooses stores and publishers.

mod alert;
mod args;
mod console;
mod error;
pub mod help;
mod in_flight;
mod list_failed;
mod published_url;
mod reset;
mod retry;
mod run;
mod stats;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::environment::{EnvFiles, Environment, Secrecy};
use crate::platform::{AssetStore, Http, Pacing, PollSettings, PublisherDeps, publishers};
use crate::post::Platform;
use crate::report::{NoopListener, ProgressListener};
use crate::retry::{Listener, RetryContext, Shutdown, StoreClock};
use crate::settings::{Overrides, Settings, SettingsError, variables};
use crate::store::{self, PostStore, StoredPost, TokenStore};

pub use args::{Cli, Command, Format, Global, When};
use console::{ALWAYS, Console, written};
pub use error::{AppError, Exit};
use in_flight::InFlight;

/// The settings of the package, which hold for the whole machine.
const SYSTEM_FILE: &str = "/etc/postretry/postretry.env";

/// The settings that say where the posts are.
const STORE_SETTINGS: [&str; 2] = ["MONGODB_URI", "POSTRETRY_STORE"];

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
/// results.
fn wrong_usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return match written(error.print().and_then(|()| std::io::stdout().flush())) {
            Ok(()) => Exit::Done,
            Err(failed) => {
                console::say(&error::render(&failed.to_string(), None, false));
                failed.exit()
            }
        };
    }
    match error::usage(error) {
        Some((problem, hint)) => console::say(&error::render(&problem, Some(&hint), false)),
        None => drop(error.print()),
    }
    Exit::Usage
}

/// Reads the process environment and a file with settings.
fn load(cli: &Cli, process: Vec<(OsString, OsString)>) -> Result<Environment, AppError> {
    let is_set = |wanted: &str| process.iter().any(|(name, value)| name == wanted && !value.is_empty());
    let has_store = cli.global.store.is_some() || STORE_SETTINGS.into_iter().any(is_set);
    let files = EnvFiles {
        named: cli.global.env_file.as_deref(),
        local: Path::new(".env"),
        system: (!has_store).then_some(Path::new(SYSTEM_FILE)),
    };
    let environment = Environment::load(process, &files, variables()).map_err(SettingsError::from)?;
    let has_store = cli.global.store.is_some() || STORE_SETTINGS.iter().any(|name| environment.value(name).is_some());
    for (written, meant) in environment.misspelt(variables()) {
        // With a store, the address of another one is the application's own.
        if !(has_store && STORE_SETTINGS.contains(&meant)) {
            log::warn!("`{written}` is not a setting of postretry; was `{meant}` meant?");
        }
    }
    Ok(environment)
}

fn start(cli: &Cli, environment: Vec<(OsString, OsString)>, console: &Console) -> Result<Exit, AppError> {
    check_format(cli)?;
    if let Command::Reset(args) = &cli.command {
        reset::check(args)?;
    }
    let operator = operator(&environment);
    let environment = load(cli, environment)?;
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
    let format = cli.global.format();
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
    let problem = match (cli.global.format(), &cli.command) {
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

/// Opens the store and reads its clock. This also detects a store that cannot be reached, and one that is probably not
/// the one that was meant.
async fn open_store(settings: &Settings) -> Result<(Arc<dyn PostStore>, StoreClock), AppError> {
    let store = store::open(&settings.store).await?;
    let clock = StoreClock::set_by(store.as_ref()).await?;
    for warning in store.warnings().await? {
        log::warn!(target: ALWAYS, "{warning}");
    }
    Ok((store, clock))
}

/// Checks what attempts need of the settings: a platform, and the folder of the files.
fn open_assets(settings: &Settings) -> Result<AssetStore, AppError> {
    if settings.platforms.is_empty() {
        return Err(AppError::Unsuitable {
            problem: "no platform is configured, so no post can be published".to_owned(),
            hint: Some("set the credentials of a platform; `.env.example` lists them".to_owned()),
        });
    }
    let root = &settings.assets.root;
    AssetStore::new(root, settings.assets.public_url.clone()).map_err(|error| AppError::Unsuitable {
        problem: format!("setting `POST_ASSET_ROOT` is not a readable directory: `{}`: {error}", root.display()),
        hint: Some("set it to the directory that contains the videos and images".to_owned()),
    })
}

/// Listens for stop signals from now on.
fn stop_signals() -> Result<Shutdown, AppError> {
    Shutdown::on_signals()
        .map_err(|error| AppError::System { action: "listen for signals", problem: error.to_string() })
}

/// Builds everything that attempts need.
fn build_context(
    settings: &Settings,
    console: &Console,
    assets: AssetStore,
    shutdown: Shutdown,
    (store, clock): (Arc<dyn PostStore>, StoreClock),
) -> Result<RetryContext, AppError> {
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
    let progress: Arc<dyn Listener> = match console.progress() {
        Some(lines) => Arc::new(ProgressListener::new(lines)),
        None => Arc::new(NoopListener),
    };
    let listener = InFlight::before(progress);
    listener.tell_when_stopping(&shutdown, console.notes());
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

/// The deliveries for these platforms; all if there are none.
fn on_platforms(deliveries: Vec<StoredPost>, platforms: &[Platform]) -> Vec<StoredPost> {
    let is_wanted = |stored: &StoredPost| {
        platforms.is_empty() || stored.platform().is_some_and(|platform| platforms.contains(&platform))
    };
    deliveries.into_iter().filter(is_wanted).collect()
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
