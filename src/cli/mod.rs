//! The command line, and what is printed for it. Only this module chooses stores and publishers.

mod alert;
mod args;
mod console;
mod error;
pub mod help;
mod in_flight;
mod list_failed;
mod process;
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
use std::time::Duration;

use chrono::DateTime;

use crate::environment::{EnvFiles, Environment, Secrecy};
use crate::platform::{AssetStore, Http, Pacing, PollSettings, PublisherDeps, publishers};
use crate::post::{Platform, plain_cause};
use crate::report::{NoopListener, ProgressListener};
use crate::retry::{Listener, RetryContext, Shutdown, StoreClock};
use crate::settings::{Overrides, Settings, SettingsError, variables};
use crate::store::{self, PostStore, RunRecord, StoreError, StoredPost, TokenStore, machine_now};

pub use args::{Cli, Command, Format, Global, When};
use console::{ALWAYS, Console, written};
pub use error::{AppError, Exit};
use in_flight::InFlight;
use process::Ending;

/// The settings of the package, which hold for the whole machine.
const SYSTEM_FILE: &str = "/etc/postretry/postretry.env";

/// How long a thread for files is kept: longer than any command takes, since another may be refused.
const KEEP_ALIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the record of a run may take when the process is to stop.
const RECORD_AFTER_STOP: Duration = Duration::from_secs(5);

/// What to do about a post that does not exist or is not failed.
const LIST_HINT: &str = "`postretry list-failed` lists the failed posts";

/// What to do about a post that another process is retrying.
const BUSY_HINT: &str = "wait until that attempt ends; `postretry list-failed` then shows the result";

/// What to do about a post that cannot be read.
const MALFORMED_HINT: &str = "correct the field in the store";

/// The settings that say where the posts are.
const STORE_SETTINGS: [&str; 2] = ["MONGODB_URI", "POSTRETRY_STORE"];

/// Runs the command line to its exit code.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let environment: Vec<(OsString, OsString)> = environment.into_iter().collect();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::read(arguments.iter().cloned()) {
        Ok(cli) => cli,
        Err(error) => {
            return wrong_usage(&error, arguments).into();
        }
    };
    let console = Console::new(&cli.global, &environment);
    console.start_log(&cli.global, &environment);
    let redactor = console.redactor().clone();
    let exit = process::run(&redactor, move |ending| match start(&cli, environment, &console, ending) {
        Ok(exit) => exit,
        Err(error) => {
            console.fatal(&error);
            error.exit()
        }
    });
    exit.into()
}

/// Writes what is wrong with the command line, in the form of all errors. Help and version also arrive here; they are
/// results.
fn wrong_usage(error: &clap::Error, arguments: Vec<OsString>) -> Exit {
    if !error.use_stderr() {
        return match written(error.print().and_then(|()| std::io::stdout().flush())) {
            Ok(()) => Exit::Done,
            Err(failed) => {
                console::say(&failed.to_string(), None);
                failed.exit()
            }
        };
    }
    let (problem, hint) = error::usage(error, Cli::command_name(arguments).as_deref());
    console::say(&problem, Some(&hint));
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
    let has_own_store = cli.global.store.is_some() || environment.value("POSTRETRY_STORE").is_some();
    for (written, meant) in environment.misspelt(variables()) {
        // With a store of our own, `MONGO_URI` and the like are the application's.
        if !(has_own_store && meant == "MONGODB_URI") {
            log::warn!("`{written}` is not a setting of postretry; was `{meant}` meant?");
        }
    }
    Ok(environment)
}

fn start(
    cli: &Cli,
    environment: Vec<(OsString, OsString)>,
    console: &Console,
    ending: Ending,
) -> Result<Exit, AppError> {
    check_clock()?;
    check_format(cli)?;
    if let Command::Reset(args) = &cli.command {
        reset::check(args, console)?;
    }
    let operator = operator(&environment);
    if let Some(store) = &cli.global.store {
        console.redactor().add_password_of(store);
    }
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
    let refused =
        |action: &'static str| move |error: std::io::Error| AppError::System { action, problem: error.to_string() };
    // One thread does all but reading files and SQLite: with several a pass takes more CPU and memory and is
    // hardly faster.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_keep_alive(KEEP_ALIVE)
        .enable_all()
        .build()
        .map_err(refused("start"))?;
    let shutdown = ending.on_signals(console.notes()).map_err(refused("listen for signals"))?;
    let format = cli.global.format();
    let exit = runtime.block_on(async {
        // The thread for files. A system that refuses it does so now, and not in the middle of a pass.
        tokio::task::spawn_blocking(|| {}).await.unwrap_or_default();
        match &cli.command {
            Command::Run(args) => run::run(args, format, &settings, console, shutdown).await,
            Command::ListFailed(args) => list_failed::run(args, format, &settings, console).await,
            Command::Retry(args) => retry::run(args, format, &settings, console, &operator, shutdown).await,
            Command::Reset(args) => reset::run(args, format, &settings, console, &operator, &shutdown).await,
            Command::Stats(args) => stats::run(args, format, &settings, console).await,
        }
    });
    // Background tasks end with the process. If they were dropped here one by one, some tasks of the MongoDB driver
    // would panic because others are gone. A connection that does not close must not delay the end of the
    // process either.
    std::mem::forget(runtime);
    exit
}

/// Checks the machine's clock. TLS and the MongoDB driver panic before 1970.
fn check_clock() -> Result<(), AppError> {
    if machine_now() < DateTime::UNIX_EPOCH { Err(AppError::Clock) } else { Ok(()) }
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
    let (store, clock) = connect_store(settings).await?;
    warn_of_store(store.as_ref()).await?;
    Ok((store, clock))
}

/// Opens the store and reads its clock.
async fn connect_store(settings: &Settings) -> Result<(Arc<dyn PostStore>, StoreClock), AppError> {
    let store = store::open(&settings.store).await?;
    let clock = StoreClock::set_by(store.as_ref()).await?;
    Ok((store, clock))
}

/// Warns of a store that is probably not the one that was meant.
async fn warn_of_store(store: &dyn PostStore) -> Result<(), StoreError> {
    for warning in store.warnings().await? {
        log::warn!(target: ALWAYS, "{warning}");
    }
    Ok(())
}

/// Checks what attempts need of the settings: a platform, and the folder of the files.
async fn open_assets(settings: &Settings) -> Result<AssetStore, AppError> {
    if settings.platforms.is_empty() {
        return Err(AppError::Unsuitable {
            problem: "no platform is configured, so no post can be published".to_owned(),
            hint: Some("set the credentials of a platform; `postretry --help` lists the settings".to_owned()),
        });
    }
    let root = &settings.assets.root;
    let opened = AssetStore::open(root, settings.assets.public_url.clone()).await;
    opened.map_err(|error| AppError::Unsuitable {
        problem: format!(
            "setting `POST_ASSET_ROOT` is not a readable directory: `{}`: {}",
            root.display(),
            plain_cause(&error.to_string())
        ),
        hint: Some("set it to the directory that contains the videos and images".to_owned()),
    })
}

/// Records a run. A store that does not respond does not keep a process that is to stop: then the run is not recorded,
/// and the signal's exit code is returned.
async fn record_run(context: &RetryContext, run: &RunRecord) -> Result<Option<Exit>, AppError> {
    let stopped = async {
        context.shutdown.stopping().await;
        // A limit of the machine starts nothing more either, but then there is time.
        if context.shutdown.signal().is_none() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(RECORD_AFTER_STOP).await;
    };
    tokio::select! {
        recorded = context.store.record_run(run) => recorded.map(|()| None).map_err(AppError::from),
        () = stopped => {
            log::warn!("the run was not recorded: the store did not respond before the process had to stop");
            Ok(context.shutdown.signal().map(Exit::from))
        }
    }
}

/// Why there can be no HTTPS. The outer texts of such an error say nothing.
fn without_https(error: &(dyn std::error::Error + 'static)) -> AppError {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    AppError::Https { problem: cause.to_string() }
}

/// Reports that attempts were undone because of a limit of the machine.
fn report_resource_limit(shutdown: &Shutdown, console: &Console) {
    if let Some(why) = shutdown.resource_limit() {
        let problem = format!("failed to publish: no more files and connections can be opened: {why}");
        let hint = "no post has lost a retry; raise the limit (`ulimit -n`, in a systemd unit `LimitNOFILE=`) or lower \
                    `POST_RETRY_CONCURRENCY`";
        console.problem(&problem, Some(hint));
    }
}

/// Sets the client for HTTP up. What takes long is left to [`prepare_https`].
fn new_http(settings: &Settings) -> Result<Http, AppError> {
    Http::new(settings.http).map_err(|error| without_https(&error))
}

/// Reads the certificates of the machine.
fn prepare_https(http: &Http) -> Result<(), AppError> {
    http.prepare().map_err(|error| without_https(&error))
}

/// Builds everything that attempts need.
fn build_context(
    settings: &Settings,
    console: &Console,
    assets: AssetStore,
    shutdown: Shutdown,
    (store, clock): (Arc<dyn PostStore>, StoreClock),
    http: Http,
) -> RetryContext {
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
    RetryContext {
        store,
        publishers: publishers.map(|publisher| (publisher.platform(), publisher)).collect(),
        clock,
        host: host_name(),
        policy: settings.policy,
        config: settings.pass.clone(),
        shutdown,
        listener,
        redactor: deps.redactor,
    }
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
