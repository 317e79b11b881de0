//! `postretry stats`.

use super::args::{Format, StatsArgs};
use super::console::Console;
use super::{AppError, Exit, open_store};
use crate::report::{StatsJson, exposition, stats_text, to_json};
use crate::settings::Settings;

pub(super) async fn run(
    args: &StatsArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, AppError> {
    let (store, clock) = open_store(settings).await?;
    let now = clock.now();
    let since = args.since.and_then(|since| now.checked_sub_signed(chrono::TimeDelta::from_std(since).ok()?));
    let statistics = store.statistics(&settings.policy, now, since).await?;
    let text = match format {
        Format::Json => to_json(&StatsJson::new(&statistics)),
        Format::Prometheus => exposition(&statistics),
        Format::Table | Format::Csv => stats_text(&statistics, now, console.screen()),
    };
    console.result(&text, Exit::Done)?;
    Ok(Exit::Done)
}
