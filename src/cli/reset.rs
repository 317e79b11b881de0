//! `postretry reset`.

use std::collections::HashSet;

use super::args::{Format, ResetArgs};
use super::console::Console;
use super::published_url::published_id;
use super::{AppError, BUSY_HINT, Exit, LIST_HINT, MALFORMED_HINT, host_name, on_platforms, open_store};
use crate::post::{Category, Platform, PostId, Publication, settle_found, shown_id};
use crate::report::{ResultRow, ResultsJson, plural, reset_plan_text, results_text, to_json, wrapped};
use crate::retry::{Shutdown, StoreClock, Work};
use crate::settings::Settings;
use crate::store::{
    Found, ListFilter, Page, PostStore, Reset, ResetOptions, StoreError, StoredPost, platforms_to_name,
};

/// How many posts of a selection are in memory at a time.
const PAGE: u64 = 500;

const RESET: &str = "reset";
const POSTED: &str = "posted";

/// Checks that posts are selected, and that a person can be asked where that is necessary.
pub(super) fn check(args: &ResetArgs, console: &Console) -> Result<(), AppError> {
    let usage =
        |problem: &str, hint: &str| Err(AppError::Usage { problem: problem.to_owned(), hint: Some(hint.to_owned()) });
    if args.posted && args.ids.len() != 1 {
        return usage("`--posted` needs exactly one ID", "look at each post on its platform, then give its ID");
    }
    if args.drop_ticket && args.ids.is_empty() {
        return usage(
            "`--drop-ticket` needs the IDs of the posts",
            "check on the platform that each post is not there, then give its ID",
        );
    }
    let is_selection = args.permanent || !args.platform.is_empty() || !args.category.is_empty();
    if args.ids.is_empty() && !is_selection {
        return usage(
            "no posts are selected",
            "give the IDs of the posts, or select posts with `--permanent`, `--platform` and `--category`",
        );
    }
    // Whether a script needs `--yes` does not depend on what matches.
    if (args.ids.is_empty() || args.drop_ticket) && !args.yes && !args.dry_run && !console.can_ask() {
        let (action, hint) = if args.drop_ticket {
            // A dry run does not show whether a post is on its platform.
            (
                "remove the upload tickets of posts",
                "check on the platform that each post is not there, then add `--yes`",
            )
        } else {
            ("reset a selection of posts", "add `--yes`, or check first with `--dry-run`")
        };
        return usage(&format!("cannot {action} without confirmation"), hint);
    }
    Ok(())
}

/// A command on its store, and what became of the posts so far.
struct Task<'a> {
    args: &'a ResetArgs,
    settings: &'a Settings,
    store: &'a dyn PostStore,
    clock: &'a StoreClock,
    console: &'a Console,
    operator: &'a str,
    shutdown: &'a Shutdown,
    rows: Vec<ResultRow>,
    exit: Exit,
    /// The ambiguous posts that a selection leaves out.
    left_out: u64,
}

pub(super) async fn run(
    args: &ResetArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
    operator: &str,
    shutdown: &Shutdown,
) -> Result<Exit, AppError> {
    let (store, clock) = open_store(settings).await?;
    let mut task = Task {
        args,
        settings,
        store: store.as_ref(),
        clock: &clock,
        console,
        operator,
        shutdown,
        rows: Vec::new(),
        exit: Exit::Done,
        left_out: 0,
    };
    match args.ids.as_slice() {
        [] => task.reset_selection().await?,
        [id] if args.posted => task.settle_as_posted(id).await?,
        ids => task.reset_named(ids).await?,
    }
    if let Some(signal) = shutdown.signal() {
        task.exit = signal.into();
        log::warn!("stopped by a signal; posts that the result does not name were not changed");
    }
    let text = match format {
        Format::Json => to_json(&ResultsJson::new(&task.rows)),
        _ => task.text(),
    };
    console.result(&text, task.exit)?;
    Ok(task.exit)
}

impl Task<'_> {
    /// The posts that `--permanent`, `--platform` and `--category` select, one page after another. Ambiguous posts may
    /// already be published, so their category must be named.
    async fn reset_selection(&mut self) -> Result<(), AppError> {
        let filter = ListFilter {
            platforms: self.args.platform.clone(),
            permanent: self.args.permanent.then_some(self.settings.policy),
            categories: self.args.category.clone(),
            ..ListFilter::default()
        };
        let mut selected = self.store.count(&filter).await?;
        if filter.categories.is_empty() {
            let ambiguous = ListFilter { categories: vec![Category::Ambiguous], ..filter.clone() };
            self.left_out = self.store.count(&ambiguous).await?;
            selected = selected.saturating_sub(self.left_out);
        }
        if selected == 0 {
            return Ok(());
        }
        self.confirm(selected)?;
        // A post that was reset leaves a selection of permanently failed posts or of a category.
        let are_leaving = !self.args.dry_run && (self.args.permanent || !filter.categories.is_empty());
        let (mut skip, mut reset_before) = (0, HashSet::new());
        loop {
            let posts = self.store.list(&filter, Page { skip, limit: PAGE }).await?.posts;
            let read = posts.len() as u64;
            let mut reset: HashSet<PostId> = HashSet::new();
            for stored in &posts {
                if self.shutdown.is_stopping() {
                    return Ok(());
                }
                let is_left_out = filter.categories.is_empty() && stored.category() == Some(Category::Ambiguous);
                // With no retries allowed at all, a post stays permanently failed.
                if is_left_out || reset_before.contains(stored.id()) {
                    continue;
                }
                if self.reset(stored, Some(stored)).await? {
                    reset.insert(stored.id().clone());
                }
            }
            if read < PAGE {
                return Ok(());
            }
            skip += if are_leaving { read.saturating_sub(reset.len() as u64) } else { read };
            reset_before = reset;
        }
    }

    /// The posts of these ids, or their deliveries for the given platforms.
    async fn reset_named(&mut self, ids: &[String]) -> Result<(), AppError> {
        let mut chosen = Vec::new();
        for id in ids {
            chosen.extend(self.find(id).await?);
        }
        if self.args.drop_ticket && !chosen.is_empty() {
            self.confirm_drop(chosen.len())?;
        }
        for stored in &chosen {
            if self.shutdown.is_stopping() {
                break;
            }
            self.reset(stored, None).await?;
        }
        Ok(())
    }

    /// A post that a person has found on its platform.
    async fn settle_as_posted(&mut self, id: &str) -> Result<(), AppError> {
        let mut deliveries = self.find(id).await?;
        if deliveries.len() > 1 {
            return Err(several_deliveries(id, &deliveries));
        }
        let Some(stored) = deliveries.pop() else { return Ok(()) };
        let post = match &stored {
            StoredPost::Readable(post) => post,
            StoredPost::Malformed(malformed) => {
                let problem = format!("its field `{}` cannot be used: {}", malformed.field, malformed.problem);
                self.refused(&stored, "malformed", &problem, Some(MALFORMED_HINT), Exit::Error);
                return Ok(());
            }
        };
        if self.args.dry_run {
            self.plan(&stored, POSTED);
            return Ok(());
        }
        let url = self.args.url.as_ref();
        let read = url.and_then(|url| published_id(post.platform, url));
        let url = url.map(ToString::to_string);
        let id = post.published_id.clone().or(read);
        let publication = Publication { id, url: url.clone(), warning: None };
        let settlement = settle_found(post, self.operator, &host_name(), publication, self.clock.now());
        self.shutdown.begin_work(Work::Writes);
        match self.store.settle_found(post, &settlement).await {
            Ok(Reset::Done) => self.rows.push(ResultRow { url, ..ResultRow::of(&stored, POSTED, None) }),
            Ok(refusal) => self.refused_by_store(&stored, refusal),
            Err(error) if error.is_for_one_post() => self.not_written(&stored, &error),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The failed deliveries of a post that are wanted. If there are none, the result says so.
    async fn find(&mut self, id: &str) -> Result<Vec<StoredPost>, AppError> {
        let asked = self.args.platform.as_slice();
        let (outcome, problem, platforms) = match self.store.find(id).await? {
            Found::Failed(deliveries) => {
                let wanted = on_platforms(deliveries, asked);
                if !wanted.is_empty() {
                    return Ok(wanted);
                }
                ("notFailed", "it is not failed on this platform", asked.iter().copied().map(Some).collect())
            }
            Found::NotFailed(platforms) => ("notFailed", "it is not failed", platforms_to_name(&platforms, asked)),
            Found::Nothing => ("notFound", "there is no such post", vec![None]),
        };
        self.console.problem(&format!("failed to {}: {problem}", self.action(&shown_id(id))), Some(LIST_HINT));
        self.rows.extend(platforms.into_iter().map(|platform| ResultRow {
            id: id.to_owned(),
            platform: platform.map(|platform| platform.to_string()),
            outcome,
            error: Some(problem.to_owned()),
            ..ResultRow::default()
        }));
        self.exit = self.exit.max(Exit::NoPost);
        Ok(Vec::new())
    }

    /// Resets a post, if it is still as it was shown, and says whether it did.
    async fn reset(&mut self, stored: &StoredPost, shown: Option<&StoredPost>) -> Result<bool, AppError> {
        if self.args.dry_run {
            self.plan(stored, RESET);
            return Ok(false);
        }
        self.shutdown.begin_work(Work::Writes);
        let options = ResetOptions { shown, drop_ticket: self.args.drop_ticket };
        match self.store.reset(stored.id(), self.operator, &options).await {
            Ok(Reset::Done) => {
                self.rows.push(ResultRow::of(stored, RESET, None));
                return Ok(true);
            }
            Ok(refusal) => self.refused_by_store(stored, refusal),
            // The store works, so the others continue.
            Err(error) if error.is_for_one_post() => self.not_written(stored, &error),
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Adds what would be done. A table cuts texts, and a part of a secret is not recognised as one.
    fn plan(&mut self, stored: &StoredPost, outcome: &'static str) {
        let redactor = self.console.redactor();
        let scrub = |text: Option<String>| text.map(|text| redactor.scrub(&text).into_owned());
        let row = ResultRow::planned(stored, outcome);
        self.rows.push(ResultRow { title: scrub(row.title), error: scrub(row.error), ..row });
    }

    fn refused_by_store(&mut self, stored: &StoredPost, refusal: Reset) {
        match refusal {
            Reset::Done => {}
            Reset::Busy => {
                self.refused(stored, "busy", "another process is retrying it right now", Some(BUSY_HINT), Exit::Busy);
            }
            Reset::Changed => {
                let hint = Some("run the command again to select it as it is now");
                self.refused(stored, "busy", "it has changed since it was selected", hint, Exit::Busy);
            }
            Reset::NotFailed => {
                self.refused(stored, "notFailed", "it is not failed any more", Some(LIST_HINT), Exit::NoPost);
            }
        }
    }

    fn not_written(&mut self, stored: &StoredPost, error: &StoreError) {
        let problem = format!("the store refuses to write to it: {error}");
        self.refused(stored, "failed", &problem, None, Exit::Error);
    }

    /// What was asked for, for an error.
    fn action(&self, id: &str) -> String {
        if self.args.posted { format!("record post `{id}` as posted") } else { format!("reset post `{id}`") }
    }

    fn refused(&mut self, stored: &StoredPost, outcome: &'static str, problem: &str, hint: Option<&str>, exit: Exit) {
        let action = self.action(&stored.id().to_string());
        self.console.problem(&format!("failed to {action}: {problem}"), hint);
        self.rows.push(ResultRow::of(stored, outcome, Some(problem.to_owned())));
        self.exit = self.exit.max(exit);
    }

    /// The result for people.
    fn text(&self) -> String {
        let screen = self.console.screen();
        let left_out = match self.left_out {
            0 => String::new(),
            count => format!("{}\n", wrapped(&left_out(count), screen.width, 2)),
        };
        if self.rows.is_empty() {
            return format!("no posts match the selection\n{left_out}");
        }
        if !self.args.dry_run {
            return format!("{}{left_out}", results_text(&self.rows, screen));
        }
        let (outcome, would) =
            if self.args.posted { (POSTED, "would be recorded as posted") } else { (RESET, "would be reset") };
        let count = self.rows.iter().filter(|row| row.outcome == outcome).count();
        let tickets = match count {
            _ if !self.args.drop_ticket => "",
            1 => " without its upload ticket",
            _ => " without their upload tickets",
        };
        let count = plural(count as u64, "post", "posts");
        format!("{}{count} {would}{tickets}; nothing was changed\n{left_out}", reset_plan_text(&self.rows, screen))
    }

    /// A selection can be larger than expected, so a person is asked; without a terminal `--yes` is required.
    fn confirm(&self, posts: u64) -> Result<(), AppError> {
        let count = plural(posts, "post", "posts");
        self.ask(&format!("Reset the retry count of {count}?"))
    }

    /// Without its ticket nothing prevents that a post goes out a second time, so a person is asked.
    fn confirm_drop(&self, posts: usize) -> Result<(), AppError> {
        if posts == 1 {
            return self.ask(
                "Remove the upload ticket of 1 post? It is then uploaded again, even if it is already on its platform; \
                 check the account first.",
            );
        }
        self.ask(&format!(
            "Remove the upload tickets of {posts} posts? Each of them is then uploaded again, even if it is already on \
             its platform; check the accounts first."
        ))
    }

    /// [`check`] has made sure that somebody can answer.
    fn ask(&self, question: &str) -> Result<(), AppError> {
        let is_confirmed = self.args.yes || self.args.dry_run || self.console.ask(question);
        if is_confirmed { Ok(()) } else { Err(AppError::Declined) }
    }
}

/// Why a selection leaves these ambiguous posts out.
fn left_out(count: u64) -> String {
    let posts = plural(count, "ambiguous post is", "ambiguous posts are");
    let were_they = if count == 1 { "it was" } else { "they were" };
    format!(
        "{posts} left out, because it is not known whether {were_they} published; `--category ambiguous` selects \
         ambiguous posts"
    )
}

/// A person has found a post on one platform, and it is failed on several.
fn several_deliveries(id: &str, deliveries: &[StoredPost]) -> AppError {
    let names: Vec<String> = deliveries.iter().filter_map(StoredPost::platform_name).map(shown_id).collect();
    let example = deliveries.iter().find_map(StoredPost::platform).map_or("P", Platform::as_str);
    AppError::Usage {
        problem: format!("post `{}` is failed on several platforms: {}", shown_id(id), names.join(", ")),
        hint: Some(format!("name the one that you have looked at, for example `--platform {example}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_post_is_left_out_in_the_singular() {
        let (one, two) = (left_out(1), left_out(2));
        assert!(one.starts_with("1 ambiguous post is left out") && one.contains("whether it was pub"), "{one}");
        assert!(two.starts_with("2 ambiguous posts are left out") && two.contains("whether they were pub"), "{two}");
    }
}
