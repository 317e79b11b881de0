//! The man pages, generated from the command line definition, the declared settings and the schema of the store.

use clap::{Arg, ArgAction, Command, CommandFactory};
use postretry::cli::Cli;
use postretry::cli::help::{EXAMPLES, EXIT_CODES, Example, examples_of};
use postretry::post::Category;
use postretry::settings::variables;
use postretry::store::sqlite::SCHEMA;

/// The date of the last change to the pages.
const DATE: &str = "2026-11-24";

/// The maximum length of a source line.
const WIDTH: usize = 78;

/// A page in the man(7) macros.
struct Page(String);

impl Page {
    fn new(name: &str, section: u8, volume: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let title = name.to_uppercase().replace('-', "\\-");
        Self(format!(
            ".\\\" Generated from the program: UPDATE_GENERATED=1 cargo test --locked --test it generated\n\
             .TH {title} {section} {DATE} \"postretry {version}\" \"{volume}\"\n"
        ))
    }

    fn section(&mut self, title: &str) {
        self.0.push_str(&format!(".SH {title}\n"));
    }

    /// A paragraph. The first one of a section needs no macro.
    fn paragraph(&mut self, text: &str) {
        if !self.0.lines().last().unwrap().starts_with(".SH") {
            self.0.push_str(".PP\n");
        }
        self.text(text);
    }

    /// A term and its meaning.
    fn item(&mut self, term: &str, text: &str) {
        self.0.push_str(&format!(".TP\n{}\n", bold(term)));
        self.text(text);
    }

    /// Lines that are kept unchanged.
    fn literal(&mut self, block: &str) {
        self.0.push_str(".PP\n.RS 4\n.nf\n");
        for line in block.lines() {
            self.0.push_str(&format!("{}\n", guarded(&escaped(line).replace('-', "\\-"))));
        }
        self.0.push_str(".fi\n.RE\n");
    }

    /// A text. The parts in backticks become bold.
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
            // man(7) asks for a line break after each sentence.
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
            // A page has no other form to see.
            let help = help.split(" (see ").next().unwrap_or_default();
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

/// Escapes the hyphens of a literal, so that it can be copied.
fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text).replace('-', "\\-"))
}

/// Protects a line that begins with a dot or a quote, which would be a macro.
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

/// The command tree with all arguments.
fn tree() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// The commands that have a page.
fn commands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| sub.get_name() != "help")
}

/// The page of the program.
fn program() -> String {
    let command = tree();
    let mut page = Page::new("postretry", 1, "User Commands");
    page.section("NAME");
    page.text("postretry \\- retry failed TikTok, Instagram and YouTube Shorts posts".replace('\\', "").as_str());
    page.section("SYNOPSIS");
    page.text("`postretry` [OPTIONS] COMMAND [ARGUMENTS]");
    page.section("DESCRIPTION");
    page.paragraph(
        "Retries posts that a marketing back end could not publish: the posts with `status: failed` in MongoDB or in a \
         SQLite file. It publishes each one again through the platform's own API, 1, 2, 4, 8 and 16 hours after the \
         first failure. A post that succeeds is marked `posted`. After five failed retries a post is permanently \
         failed. postretry has no server and no scheduler; cron or a systemd timer starts it.",
    );
    page.paragraph(
        "A post is never published twice, even if the process, the store or the network fails at any moment. postretry \
         stores the platform's upload ticket before the step that makes a post public, and checks the ticket before it \
         sends anything again. If it cannot find out whether a post was published, it marks the post `ambiguous` and \
         leaves the decision to you.",
    );
    page.section("COMMANDS");
    for sub in commands(&command) {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        page.item(sub.get_name(), &format!("{about}. See `postretry-{}`(1).", sub.get_name()));
    }
    page.item("help [COMMAND]", "Print the help of postretry or of one command.");
    page.section("OPTIONS");
    page.options(command.get_arguments());
    page.section("IDS");
    page.paragraph(
        "An ID is the `_id` of a post as it is in the store: 24 hex digits for an ObjectId, a string as it is, the \
         digits of an integer, a UUID with hyphens, any other value in relaxed extended JSON. Options come before an \
         ID that begins with `-`, and `--` comes between them: `postretry retry --force -- -spring`. In tables and \
         messages an ID is cut after 80 characters. A hint repeats an ID that has at most 200 characters, quoted for a \
         POSIX shell; otherwise it says `ID`.",
    );
    page.exit_codes();
    page.section("SIGNALS");
    page.paragraph(
        "After SIGINT (Ctrl-C) or SIGTERM, `run` and `retry` start no new post. Attempts in flight have 20 s to \
         finish. After that they are released within 10 s, and use no retry. A second signal ends the 20 s at once, \
         and a third one ends the process. `reset` finishes the write that it has begun. Every other command ends at \
         once. The exit status is that of the first signal. The next pass resumes what was in flight.",
    );
    page.section("LIMITS OF THE MACHINE");
    page.paragraph(
        "If the process can open no more files or connections (`ulimit -n`, in a systemd unit `LimitNOFILE=`), or gets \
         no memory for them, the attempts that meet the limit are undone and use no retry. No new post is started, and \
         the exit status is 1. The error says which limit to raise.",
    );
    page.section("ENVIRONMENT");
    page.paragraph("`postretry`(5) describes the settings. These variables apply too:");
    page.item(
        "RUST_LOG",
        "The log level on standard error, for example `postretry=debug`. It takes precedence over `-v` and `-q`.",
    );
    page.item("NO_COLOR", "Disables colour, unless `--color always` is given.");
    page.item(
        "HTTPS_PROXY, NO_PROXY",
        "The proxy for connections to the platforms, and the hosts that are reached without it. A loopback address is \
         always reached without it. These variables and the next ones are read from the process environment only.",
    );
    page.item("SSL_CERT_FILE, SSL_CERT_DIR", "Certificates to trust instead of the system's.");
    page.section("FILES");
    page.item(".env", "Settings in the working directory. `--env-file` names another file.");
    page.item(
        "/etc/postretry/postretry.env",
        "Settings of the Debian package. Read if there is no `.env`, no `--env-file` is given and no store is set. \
         Only root can read it, so run `sudo postretry`.",
    );
    page.section("WARNINGS");
    page.paragraph(
        "Every command warns on standard error if the collection of the posts is missing, if it is empty while another \
         one has a similar name, and if it has just created the file of an embedded store or added its tables to a \
         database with other tables. `run` warns if posts are due and none of their platforms is configured. These \
         warnings are printed with `-q` too. Without `-q`, a variable whose name differs in one or two characters from a \
         setting that is not set is reported with the setting that was probably meant.",
    );
    page.examples(EXAMPLES);
    page.section("SEE ALSO");
    let pages: Vec<String> = commands(&command).map(|sub| format!("`postretry-{}`(1)", sub.get_name())).collect();
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
    page.paragraph("`postretry`(1) describes the options of all commands.");
    page.examples(examples_of(sub.get_name()));
    page.section("SEE ALSO");
    page.text("`postretry`(1) for exit codes, `postretry`(5) for settings");
    page.0
}

/// The fields that postretry writes, and their meaning.
const FIELDS: &[(&str, &str)] = &[
    ("status", "`posted` on success; otherwise it stays `failed`."),
    ("postedAt", "The date of the successful publish."),
    ("error", "The last failure in one line, at most 1,000 characters; null on success."),
    (
        "retryCount",
        "The number of retries: plus one when an attempt starts, minus one if it is deferred, 0 on success.",
    ),
    ("lastRetriedAt", "The start of the last attempt."),
    ("permanentlyFailed, permanentlyFailedAt", "Whether and when the post became permanently failed."),
    (
        "tiktokVideoId, tiktokShareUrl, instagramMediaId, instagramPermalink, youtubeVideoId, youtubeUrl",
        "The IDs and links from the platform, on success.",
    ),
    ("failureCategory", "The category of the last failure; see CATEGORIES."),
    ("retryNotBefore", "The earliest time for the next retry; null if only the backoff decides."),
    (
        "retryHistory",
        "One entry for each attempt, newest last. The last 50 are kept. Members: attempt, startedAt, finishedAt, \
         outcome (`posted`, `failed`, `deferred`, `interrupted`), category, error, host; interruptions if there were \
         any; resetAt and resetBy if the post was reset after the attempt; settledBy if a person found the post.",
    ),
    (
        "retryClaim",
        "While an attempt runs: the process that has claimed the post, and when the claim expires unless renewed.",
    ),
    (
        "publishTicket",
        "The platform's upload ticket, which prevents a second publish; null when it is no longer needed.",
    ),
    ("updatedAt", "The date of the last write."),
];

fn consequence(category: Category) -> &'static str {
    match category {
        Category::Network => {
            "Connection refused or reset, DNS, TLS, timeout. Uses a retry. Three in a row open the circuit breaker."
        }
        Category::PlatformOutage => {
            "The platform is unavailable. Uses a retry. Three in a row open the circuit breaker."
        }
        Category::RateLimited => {
            "The platform throttles requests. Uses no retry. Deferred until the time that the platform gives; without \
             one, for 65 s on TikTok, for one hour after Instagram's codes 4 and 17, or else for one base interval."
        }
        Category::QuotaExhausted => {
            "A daily limit is used up. Uses no retry. Deferred until the limit is reset, or for 24 hours."
        }
        Category::Auth => {
            "The platform refused the credentials. Uses no retry. The posts wait until you renew the credentials."
        }
        Category::MissingAsset => {
            "The file does not exist, is not below `POST_ASSET_ROOT`, is not a video or image that postretry knows, \
             changed during its upload, or could not be read within 30 s. Uses a retry."
        }
        Category::MediaProcessing => {
            "The platform could not process the upload, or the video is too large for it (TikTok 4 GiB, Instagram 300 \
             MiB, YouTube 256 GiB). Uses a retry, or the post is permanently failed at once if no retry can help."
        }
        Category::Processing => {
            "The platform still processes the post. Uses no retry. The next pass checks the ticket and continues with \
             it; nothing is sent twice. After 24 hours the category becomes `ambiguous`."
        }
        Category::RejectedContent => "Caption too long, format refused, policy. Permanently failed at once.",
        Category::Ambiguous => {
            "It is not known whether the post was published. Permanently failed at once. Look at the account first. If \
             the post is there, `postretry reset --posted` records it as posted. If not, `postretry retry --force` \
             sends it again."
        }
        Category::AccountRestricted => {
            "The account is banned or not allowed to publish. Uses no retry. The posts wait until the account may \
             publish again."
        }
        Category::Expired => "Older than `POST_RETRY_EXPIRE`. Permanently failed; nothing is sent.",
        Category::Interrupted => "The process died during the attempt, also each time it was resumed. Uses a retry.",
        Category::Unknown => "An error code that postretry does not know. The error contains it. Uses a retry.",
    }
}

/// The page of settings, documents and the embedded store.
fn formats() -> String {
    let mut page = Page::new("postretry", 5, "File Formats");
    page.section("NAME");
    page.text("postretry - settings, documents and embedded store of postretry(1)");
    page.section("SETTINGS");
    page.paragraph(
        "Settings come from the environment, or from `.env` in the working directory (or `--env-file`). The \
         environment takes precedence over the file, and an option over both. An empty value means: not set. In the \
         file, a value in single quotes is used unchanged. Elsewhere `$` and `\\` have a special meaning, so put a \
         password that contains one in single quotes. The file may contain settings of other programs: a line that \
         cannot be parsed is an error only if it sets one of these settings. Invalid values are all reported together \
         at the start, with exit status 4. Durations are written `50ms`, `90s`, `50m`, `2h`, `7d`.",
    );
    for variable in variables() {
        let default = match variable.default {
            // The working directory, which the text names.
            "" | "." => String::new(),
            default => format!(" Default: `{default}`."),
        };
        page.item(variable.name, &format!("{}.{default}", variable.doc));
    }
    page.section("DOCUMENTS");
    page.paragraph(
        "Posts are documents as a Mongoose application writes them. postretry reads: _id, title, description, caption, \
         hashtags (a list, or an object of lists by platform), platform (`tiktok`, `instagram`, `youtube_shorts` or \
         `youtube`), status, failedAt (the date of the first failure), contentType (`video`, `image`), videoPath, \
         imagePath, storyId, storyName, scheduledAt, updatedAt, sheetTriggeredAt, uploadProgress.publishId, \
         instagramContainerId, isAiGenerated. postretry writes only these fields:",
    );
    for (field, meaning) in FIELDS {
        page.item(field, meaning);
    }
    page.paragraph(
        "postretry reports a post as malformed, and does not change it, if one of these fields has the wrong type, if \
         a date is outside the years 0 to 9999, if the platform is unknown, if an ID that the application has left of \
         an upload does not have the form of the platform's IDs (uploadProgress.publishId: at most 128 letters, digits \
         and `_~-.`; instagramContainerId: at most 20 digits), if the ticket cannot be read or belongs to another \
         platform, if `platforms` or `platformStatus` has more than 100 names, or if the `_id` is one that a query \
         cannot look up or has more than 1,024 bytes of BSON. The other posts are retried as usual.",
    );
    page.paragraph(
        "If the store refuses to write to a post, for example because of a schema validator, this concerns only that \
         post. `run` reports it in the same way, with the field `_id`, and exits with status 3.",
    );
    page.paragraph("Runs are recorded in `postretry_runs`, tokens in `postretry_tokens`.");
    page.paragraph(
        "A document for several platforms has a list `platforms` and an object `platformStatus`. Each platform of the \
         list is a delivery, which is found, claimed, retried and counted separately. The retry fields of a delivery \
         are in postretry.PLATFORM; its success and its last error are also written to platformStatus.PLATFORM. \
         `status` becomes `posted` when all platforms are posted or skipped. docs/documents.md describes both \
         shapes.",
    );
    page.section("CATEGORIES");
    page.paragraph(
        "The category of a failure decides what happens next. After a failure of category `rate_limited`, \
         `quota_exhausted`, `auth` or `account_restricted`, or when its circuit breaker opens, a platform is skipped \
         for the rest of the pass. If a platform that throttles requests asks for at most two minutes, the pass waits.",
    );
    for category in Category::ALL {
        page.item(category.as_str(), consequence(category));
    }
    page.section("EMBEDDED STORE");
    page.paragraph(
        "`sqlite:PATH` is a SQLite file for one machine. It has the same meaning as the documents. Any program may \
         insert rows into `posts` and `stories`. postretry creates missing tables and columns on first use, and \
         migrates a file of an earlier version. docs/sqlite.md says which values a row may have.",
    );
    page.literal(SCHEMA.trim());
    page.section("SEE ALSO");
    page.text("`postretry`(1)");
    page.0
}

/// All pages: file name and text.
pub(crate) fn pages() -> Vec<(String, String)> {
    let mut pages = vec![("postretry.1".to_owned(), program()), ("postretry.5".to_owned(), formats())];
    let command = tree();
    pages.extend(commands(&command).map(|sub| (format!("postretry-{}.1", sub.get_name()), page_of(sub))));
    pages
}
