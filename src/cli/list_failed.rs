//! `postretry list-failed`.

use chrono::{DateTime, Utc};

use super::args::{Format, ListArgs};
use super::console::Console;
use super::{AppError, Exit, LIST_HINT, on_platforms, open_store};
use crate::environment::Redactor;
use crate::post::shown_id;
use crate::report::{ListJson, ListPart, PassRules, PostDetailJson, list_text, plural, post_text, posts_csv, to_json};
use crate::settings::Settings;
use crate::store::{Found, ListFilter, Page, PostStore, StoredPost};

/// How many posts are listed without `--limit`.
const LIMIT: u64 = 50;

pub(super) async fn run(
    args: &ListArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, AppError> {
    let (store, clock) = open_store(settings).await?;
    let policy = settings.policy;
    let now = clock.now();
    if let Some(id) = &args.id {
        let platforms = settings.platforms.iter().map(|platform| platform.platform()).collect();
        let rules = PassRules { policy, config: settings.pass.clone(), platforms };
        return show(id, args, format, (&rules, now), store.as_ref(), console).await;
    }
    let filter = ListFilter {
        platforms: args.platform.clone(),
        due: args.due.then_some((policy, now)),
        permanent: args.permanent.then_some(policy),
        categories: args.category.clone(),
        since: args.since.and_then(|since| now.checked_sub_signed(chrono::TimeDelta::from_std(since).ok()?)),
    };
    let page = Page { skip: args.skip, limit: args.limit.unwrap_or(LIMIT) };
    if format == Format::Csv {
        let posts = without_secrets(store.list(&filter, page).await?.posts, console);
        console.result(&posts_csv(&posts, &policy, now), Exit::Done)?;
        // A file with a part of the list looks like one with all of it.
        if args.limit.is_none() && posts.len() as u64 == page.limit {
            warn_of_unlisted_posts(store.count(&filter).await?.saturating_sub(page.skip.saturating_add(page.limit)));
        }
        return Ok(Exit::Done);
    }
    let rest = async {
        let total = store.count(&filter).await?;
        let given_up = if format == Format::Json { Vec::new() } else { store.given_up_platforms().await? };
        Ok((total, given_up))
    };
    // With many posts the list and the count both take long, and a server has more than one processor.
    let (listed, (total, given_up)) = tokio::try_join!(store.list(&filter, page), rest)?;
    let posts = without_secrets(listed.posts, console);
    let part = ListPart { posts: &posts, page, total, filter: &filter, given_up: &given_up };
    let text = match format {
        Format::Json => to_json(&ListJson::new(&part, &policy, now)),
        _ => list_text(&part, &policy, now, console.screen()),
    };
    console.result(&text, Exit::Done)?;
    Ok(Exit::Done)
}

fn warn_of_unlisted_posts(rest: u64) {
    if rest > 0 {
        log::warn!("{} not listed; `--limit` lists more", plural(rest, "post is", "posts are"));
    }
}

/// Shows the failed deliveries of one post in full.
async fn show(
    id: &str,
    args: &ListArgs,
    format: Format,
    (rules, now): (&PassRules, DateTime<Utc>),
    store: &dyn PostStore,
    console: &Console,
) -> Result<Exit, AppError> {
    let (problem, posts) = match store.find(id).await? {
        Found::Failed(posts) => ("it is not failed on this platform", on_platforms(posts, &args.platform)),
        Found::NotFailed(_) => ("it is not failed", Vec::new()),
        Found::Nothing => ("there is no such post", Vec::new()),
    };
    if posts.is_empty() {
        console.problem(&format!("failed to show post `{}`: {problem}", shown_id(id)), Some(LIST_HINT));
        return Ok(Exit::NoPost);
    }
    let posts = without_secrets(posts, console);
    let text = if format == Format::Json {
        to_json(&PostDetailJson::new(&posts, rules, now))
    } else {
        let given_up = store.given_up_platforms().await?;
        let block = |stored: &StoredPost| post_text(stored, &given_up, rules, now, console.screen());
        posts.iter().map(block).collect::<Vec<_>>().join("\n")
    };
    console.result(&text, Exit::Done)?;
    Ok(Exit::Done)
}

fn without_secrets(mut posts: Vec<StoredPost>, console: &Console) -> Vec<StoredPost> {
    for stored in &mut posts {
        take_secrets_out(stored, console.redactor());
    }
    posts
}

/// Takes secrets out of the texts of a post, most of which the application has written. This is done before a table cuts
/// them, because a part of a secret is not recognised as one.
fn take_secrets_out(stored: &mut StoredPost, redactor: &Redactor) {
    let (content, story, error, history) = match stored {
        StoredPost::Readable(post) => {
            let post = post.as_mut();
            (&mut post.content, &mut post.story, &mut post.retry.error, &mut post.retry.history)
        }
        StoredPost::Malformed(malformed) => {
            malformed.problem = redactor.scrub(&malformed.problem).into_owned();
            let draft = malformed.draft.as_mut();
            (&mut draft.content, &mut draft.story, &mut draft.error, &mut draft.history)
        }
    };
    let errors = history.iter_mut().map(|entry| &mut entry.error);
    for text in [&mut content.title, &mut story.name, error].into_iter().chain(errors).flatten() {
        *text = redactor.scrub(text).into_owned();
    }
}
