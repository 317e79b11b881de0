//! The man pages, from the command line's own description, the settings' declarations and the store's schema.

use clap::{Arg, ArgAction, Command, CommandFactory};
use postretry::cli::Cli;
use postretry::cli::help::{EXAMPLES, EXIT_CODES, Example, examples_of};
use postretry::post::Category;
use postretry::settings::VARIABLES;
use postretry::store::sqlite::SCHEMA;

/// The day of the last change of what the pages say.
const DATE: &str = "2026-11-24";

/// Lines of the source are not longer than this.
const WIDTH: usize = 78;

/// A page in the macros of man(7).
struct Page(String);

impl Page {
    fn new(name: &str, section: u8, volume: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let title = name.to_uppercase().replace('-', "\\-");
        Self(format!(
            ".\\\" Made by the tests from the program itself; run them with UPDATE_GENERATED=1.\n\
             .TH {title} {section} {DATE} \"postretry {version}\" \"{volume}\"\n"
        ))
    }

    fn section(&mut self, title: &str) {
        self.0.push_str(&format!(".SH {title}\n"));
    }

    /// A paragraph; not the first of its section, which needs no macro.
    fn paragraph(&mut self, text: &str) {
        if !self.0.lines().last().unwrap().starts_with(".SH") {
            self.0.push_str(".PP\n");
        }
        self.text(text);
    }

    /// A term and what it means.
    fn item(&mut self, term: &str, text: &str) {
        self.0.push_str(&format!(".TP\n{}\n", bold(term)));
        self.text(text);
    }

    /// Lines that stand as they are.
    fn literal(&mut self, block: &str) {
        self.0.push_str(".PP\n.RS 4\n.nf\n");
        for line in block.lines() {
            self.0.push_str(&format!("{}\n", guarded(&escaped(line).replace('-', "\\-"))));
        }
        self.0.push_str(".fi\n.RE\n");
    }

    /// A text, where what stands in backticks becomes bold.
    fn text(&mut self, text: &str) {
        let mut parts = String::new();
        for (index, part) in text.split('`').enumerate() {
            parts.push_str(&if index % 2 == 0 { escaped(part) } else { bold(part) });
        }
        let mut line = String::new();
        for word in parts.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
                self.0.push_str(&format!("{}\n", guarded(&line)));
                line.clear();
            }
            // A sentence ends its line, as man(7) wants it.
            let gap = if line.is_empty() { "" } else { " " };
            line.push_str(gap);
            line.push_str(word);
            if word.ends_with(['.', ':', '?']) && word.len() > 3 {
                self.0.push_str(&format!("{}\n", guarded(&line)));
                line.clear();
            }
        }
        if !line.is_empty() {
            self.0.push_str(&format!("{}\n", guarded(&line)));
        }
    }

    fn examples(&mut self, examples: &[Example]) {
        self.section("EXAMPLES");
        for (line, meaning) in examples {
            self.item(line, &format!("{}.", capital(meaning)));
        }
    }

    fn exit_codes(&mut self) {
        self.section("EXIT STATUS");
        for (code, meaning) in EXIT_CODES {
            self.item(code, &format!("{}.", capital(meaning)));
        }
        self.paragraph("With several IDs the highest code wins.");
    }

    fn options<'a>(&mut self, arguments: impl Iterator<Item = &'a Arg>) {
        for argument in arguments {
            self.0.push_str(&format!(".TP\n{}\n", tag_of(argument)));
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let values: Vec<String> =
                argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
            let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
            let mut text = format!("{help}.");
            if !values.is_empty() && argument.get_action().takes_values() {
                text.push_str(&format!(" One of {}.", values.join(", ")));
            }
            if !default.is_empty() && argument.get_action().takes_values() {
                text.push_str(&format!(" Default: `{}`.", default.join(", ")));
            }
            self.text(&text);
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
}

/// Literals have hyphens that can be copied.
fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text).replace('-', "\\-"))
}

/// A line that begins with a dot or a quote would be a macro.
fn guarded(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

fn tag_of(argument: &Arg) -> String {
    let value = argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
    let value = if argument.get_action().takes_values() { format!("\\fI{value}\\fR") } else { String::new() };
    let names =
        [argument.get_short().map(|short| format!("-{short}")), argument.get_long().map(|long| format!("--{long}"))];
    let names: Vec<String> = names.into_iter().flatten().map(|name| bold(&name)).collect();
    match (names.is_empty(), value.is_empty()) {
        (true, _) => value,
        (false, true) => names.join(", "),
        (false, false) => format!("{} {value}", names.join(", ")),
    }
}

/// The command tree with every argument in its place.
fn tree() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// The page of the program.
fn program() -> String {
    let command = tree();
    let mut page = Page::new("postretry", 1, "User Commands");
    page.section("NAME");
    page.text("postretry \\- publish failed TikTok, Instagram and YouTube posts again".replace('\\', "").as_str());
    page.section("SYNOPSIS");
    page.text("`postretry` [OPTIONS] COMMAND [ARGUMENTS]");
    page.section("DESCRIPTION");
    page.paragraph(
        "Publishes the posts again that a marketing back end could not publish: those with `status: failed` in MongoDB or \
         in a SQLite file, 1, 2, 4, 8 and 16 hours after the first failure, through the platform's own API. A post that \
         succeeds is marked `posted`; one that has failed five times more is given up. There is no server and no \
         scheduler in it: cron or a systemd timer starts it.",
    );
    page.paragraph(
        "A post appears at most once on its platform, whatever is killed whenever: the platform's upload ticket is stored \
         before the step that makes a post public, and looked up before anything is sent again. Where it cannot be told \
         whether a post went out, it is parked for a person.",
    );
    page.section("COMMANDS");
    for sub in command.get_subcommands() {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        page.item(sub.get_name(), &format!("{about}. See `postretry-{}`(1).", sub.get_name()));
    }
    page.section("OPTIONS");
    page.options(command.get_arguments());
    page.exit_codes();
    page.section("ENVIRONMENT");
    page.paragraph("The settings are in `postretry`(5). Besides them:");
    page.item("RUST_LOG", "What is logged on standard error, over `-v` and `-q`: for example `postretry=debug`.");
    page.item("NO_COLOR", "No colour, unless `--color always`.");
    page.item(
        "HTTPS_PROXY, NO_PROXY",
        "The proxy by which the platforms are reached, and the hosts that are reached without one; never for a loopback \
         address. From the process environment only, like the next.",
    );
    page.item("SSL_CERT_FILE, SSL_CERT_DIR", "Certificates to trust in the place of the system's.");
    page.section("FILES");
    page.item(".env", "Settings, in the working directory, unless `--env-file` names another file.");
    page.examples(EXAMPLES);
    page.section("SEE ALSO");
    let pages: Vec<String> =
        command.get_subcommands().map(|sub| format!("`postretry-{}`(1)", sub.get_name())).collect();
    page.text(&format!("{}, `postretry`(5)", pages.join(", ")));
    page.0
}

/// The page of one command.
fn page_of(sub: &Command) -> String {
    let name = format!("postretry-{}", sub.get_name());
    let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Page::new(&name, 1, "User Commands");
    page.section("NAME");
    page.text(&format!("{name} - {}", about.to_lowercase().replace("with an id", "with an ID")));
    page.section("SYNOPSIS");
    let named = sub.get_positionals().map(|argument| {
        let name = argument.get_value_names().unwrap_or_default().join(" ");
        let many = if matches!(argument.get_action(), ArgAction::Append) { "..." } else { "" };
        if argument.is_required_set() { format!("{name}{many}") } else { format!("[{name}{many}]") }
    });
    let named: Vec<String> = named.collect();
    page.text(&format!("`postretry {}` [OPTIONS] {}", sub.get_name(), named.join(" ")));
    page.section("DESCRIPTION");
    page.paragraph(&format!("{about}."));
    let long = sub.get_long_about().map(ToString::to_string).unwrap_or_default();
    for paragraph in long.split("\n\n").skip(1) {
        page.paragraph(paragraph);
    }
    page.section("OPTIONS");
    page.options(sub.get_arguments().filter(|argument| !argument.is_global_set()));
    page.paragraph("The options of every command are in `postretry`(1).");
    page.examples(examples_of(sub.get_name()));
    page.section("SEE ALSO");
    page.text("`postretry`(1) for exit codes, `postretry`(5) for settings");
    page.0
}

/// What documents have, and what is done with it.
const FIELDS: &[(&str, &str)] = &[
    ("status", "`posted` on success, else it stays `failed`."),
    ("postedAt", "Date, on success."),
    ("error", "The last failure in one line, at most 1,000 characters; null on success."),
    ("failedAt", "When the first failure was recorded; never changed."),
    ("retryCount", "Retries made: one more when an attempt starts, back by one if it is deferred, 0 on success."),
    ("lastRetriedAt", "When an attempt starts."),
    ("permanentlyFailed, permanentlyFailedAt", "When the post was given up."),
    (
        "tiktokVideoId, tiktokShareUrl, instagramMediaId, instagramPermalink, youtubeVideoId, youtubeUrl",
        "What the platform gave, on success.",
    ),
    ("failureCategory", "Why the last attempt failed; see CATEGORIES."),
    ("retryNotBefore", "The platform said not to come back before."),
    (
        "retryHistory",
        "One entry an attempt, newest last, the last 50: attempt, startedAt, finishedAt, outcome (`posted`, `failed`, \
         `deferred`, `interrupted`), category, error, host; interruptions where there were some; resetAt and resetBy \
         where the post was given its retries back after it.",
    ),
    ("retryClaim", "While an attempt runs: who works on the post, and until when unless renewed."),
    ("publishTicket", "What makes a repeated publish impossible; null once it is dealt with."),
    ("updatedAt", "On every write."),
];

fn consequence(category: Category) -> &'static str {
    match category {
        Category::Network => {
            "Refused, reset, DNS, TLS, time-out. Costs a retry; three in a row end the platform's pass."
        }
        Category::PlatformOutage => {
            "The platform is in trouble. Costs a retry; three in a row end the platform's pass."
        }
        Category::RateLimited => {
            "The platform throttles. Costs nothing: not before the time that it said, or one interval."
        }
        Category::QuotaExhausted => "A daily cap is used up. Costs nothing: not before its reset, or 24 hours.",
        Category::Auth => "The sign-in was refused. Costs nothing; the platform's posts wait for a person to renew it.",
        Category::MissingAsset => "No such file, or not one to publish. Costs a retry.",
        Category::MediaProcessing => {
            "The platform could not process the upload. Costs a retry, or the post is given up."
        }
        Category::Processing => "The platform is not done yet. Costs nothing; the next pass looks, and sends nothing.",
        Category::RejectedContent => "Caption too long, format refused, policy. Given up at once.",
        Category::Ambiguous => {
            "It cannot be told whether the post went out. Parked: look at the account, then reset it."
        }
        Category::AccountRestricted => "Banned, or not allowed to publish. Costs nothing; a person is needed.",
        Category::Expired => "Too late to be worth publishing. Given up, nothing is sent.",
        Category::Interrupted => "The process died three times in the middle. Costs a retry.",
        Category::Unknown => "A code that nobody has mapped; it is in the error. Costs a retry.",
    }
}

/// The page of settings, documents and the embedded store.
fn formats() -> String {
    let mut page = Page::new("postretry", 5, "File Formats");
    page.section("NAME");
    page.text("postretry - settings, documents and embedded store of postretry(1)");
    page.section("SETTINGS");
    page.paragraph(
        "From the environment, or from `.env` in the working directory (or `--env-file`). The environment wins over the \
         file, an option over both; an empty value is an unset one. In the file a value in single quotes is taken as it \
         is; without them `$` and `\\` mean something, so a password that has one is to be quoted. What cannot be used is \
         refused at start, all of it at once, with exit status 4. Times are written `50ms`, `90s`, `50m`, `2h`, `7d`.",
    );
    for variable in VARIABLES {
        let default = match variable.default {
            "" => String::new(),
            default => format!(" Default: `{default}`."),
        };
        page.item(variable.name, &format!("{}.{default}", variable.doc));
    }
    page.section("DOCUMENTS");
    page.paragraph(
        "Posts are documents as a Mongoose application writes them. These fields are read: _id, title, description, \
         caption, hashtags (a list, or an object of lists by platform), platform (`tiktok`, `instagram`, \
         `youtube_shorts` or `youtube`), status, contentType (`video`, `image`), videoPath, imagePath, storyId, storyName, \
         scheduledAt, updatedAt, uploadProgress.publishId, instagramContainerId. These are written, and no others:",
    );
    for (field, meaning) in FIELDS {
        page.item(field, meaning);
    }
    page.paragraph(
        "A post whose field has a wrong type is reported and left unchanged. Runs are recorded in `postretry_runs`, tokens \
         in `postretry_tokens`.",
    );
    page.section("CATEGORIES");
    for category in Category::ALL {
        page.item(category.as_str(), consequence(category));
    }
    page.section("EMBEDDED STORE");
    page.paragraph(
        "`sqlite:PATH` is a file with the same meaning, for one machine. Any program may insert rows into `posts` and \
         `stories`. What is missing is made on first use.",
    );
    page.literal(SCHEMA.trim());
    page.section("SEE ALSO");
    page.text("`postretry`(1)");
    page.0
}

/// Every page: its file and its text.
pub(crate) fn pages() -> Vec<(String, String)> {
    let mut pages = vec![("postretry.1".to_owned(), program()), ("postretry.5".to_owned(), formats())];
    let command = tree();
    pages.extend(command.get_subcommands().map(|sub| (format!("postretry-{}.1", sub.get_name()), page_of(sub))));
    pages
}
