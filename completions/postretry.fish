# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_postretry_global_optspecs
    string join \n store= env-file= format= json q/quiet v/verbose color= h/help V/version
end

function __fish_postretry_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_postretry_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_postretry_using_subcommand
    set -l cmd (__fish_postretry_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c postretry -n "__fish_postretry_needs_command" -l store -d 'The post store: `mongodb://…` or `sqlite:PATH`' -r
complete -c postretry -n "__fish_postretry_needs_command" -l env-file -d 'Read settings from this file instead of .env' -r -F
complete -c postretry -n "__fish_postretry_needs_command" -l format -d 'The output format' -r -f -a "table\t'A table for people'
json\t'One JSON document'
csv\t'Rows with a header (only for list-failed)'
prometheus\t'The Prometheus text format (only for stats)'"
complete -c postretry -n "__fish_postretry_needs_command" -l color -d 'When to use colour' -r -f -a "auto\t'If the output is a terminal'
always\t'Always'
never\t'Never'"
complete -c postretry -n "__fish_postretry_needs_command" -l json -d 'The same as `--format json`'
complete -c postretry -n "__fish_postretry_needs_command" -s q -l quiet -d 'Print the result only if the exit code is not 0; important warnings are always printed'
complete -c postretry -n "__fish_postretry_needs_command" -s v -l verbose -d 'Log what postretry does; repeat for more detail'
complete -c postretry -n "__fish_postretry_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c postretry -n "__fish_postretry_needs_command" -s V -l version -d 'Print version'
complete -c postretry -n "__fish_postretry_needs_command" -f -a "run" -d 'Run one retry pass: publish every failed post that is due'
complete -c postretry -n "__fish_postretry_needs_command" -f -a "list-failed" -d 'List failed posts with their retry state; with an ID, show one post in full'
complete -c postretry -n "__fish_postretry_needs_command" -f -a "retry" -d 'Publish these failed posts now, without waiting for their backoff'
complete -c postretry -n "__fish_postretry_needs_command" -f -a "reset" -d 'Reset the retry count'
complete -c postretry -n "__fish_postretry_needs_command" -f -a "stats" -d 'Show counts, success rates, failure categories and past runs'
complete -c postretry -n "__fish_postretry_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c postretry -n "__fish_postretry_using_subcommand run" -l platform -d 'Only posts for this platform (repeatable)' -r -f -a "tiktok\t''
instagram\t''
youtube_shorts\t''"
complete -c postretry -n "__fish_postretry_using_subcommand run" -l limit -d 'Start at most N posts' -r
complete -c postretry -n "__fish_postretry_using_subcommand run" -l concurrency -d 'Posts in flight per platform, 1 to 256' -r
complete -c postretry -n "__fish_postretry_using_subcommand run" -l max-duration -d 'Start no new post after this time, for example 50m' -r
complete -c postretry -n "__fish_postretry_using_subcommand run" -l store -d 'The post store: `mongodb://…` or `sqlite:PATH`' -r
complete -c postretry -n "__fish_postretry_using_subcommand run" -l env-file -d 'Read settings from this file instead of .env' -r -F
complete -c postretry -n "__fish_postretry_using_subcommand run" -l format -d 'The output format' -r -f -a "table\t'A table for people'
json\t'One JSON document'
csv\t'Rows with a header (only for list-failed)'
prometheus\t'The Prometheus text format (only for stats)'"
complete -c postretry -n "__fish_postretry_using_subcommand run" -l color -d 'When to use colour' -r -f -a "auto\t'If the output is a terminal'
always\t'Always'
never\t'Never'"
complete -c postretry -n "__fish_postretry_using_subcommand run" -l dry-run -d 'Show what would be retried and why; write nothing and call no platform'
complete -c postretry -n "__fish_postretry_using_subcommand run" -l json -d 'The same as `--format json`'
complete -c postretry -n "__fish_postretry_using_subcommand run" -s q -l quiet -d 'Print the result only if the exit code is not 0; important warnings are always printed'
complete -c postretry -n "__fish_postretry_using_subcommand run" -s v -l verbose -d 'Log what postretry does; repeat for more detail'
complete -c postretry -n "__fish_postretry_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c postretry -n "__fish_postretry_using_subcommand run" -s V -l version -d 'Print version'
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l platform -d 'Only posts for this platform (repeatable)' -r -f -a "tiktok\t''
instagram\t''
youtube_shorts\t''"
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l category -d 'Only posts whose last failure has this category (repeatable)' -r -f -a "network\t''
platform_outage\t''
rate_limited\t''
quota_exhausted\t''
auth\t''
missing_asset\t''
media_processing\t''
processing\t''
rejected_content\t''
ambiguous\t''
account_restricted\t''
expired\t''
interrupted\t''
unknown\t''"
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l since -d 'Only posts that failed within this time, for example 7d' -r
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l limit -d 'Show at most N posts (1 or more; 50 if not given)' -r
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l skip -d 'Skip the first N posts' -r
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l store -d 'The post store: `mongodb://…` or `sqlite:PATH`' -r
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l env-file -d 'Read settings from this file instead of .env' -r -F
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l format -d 'The output format' -r -f -a "table\t'A table for people'
json\t'One JSON document'
csv\t'Rows with a header (only for list-failed)'
prometheus\t'The Prometheus text format (only for stats)'"
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l color -d 'When to use colour' -r -f -a "auto\t'If the output is a terminal'
always\t'Always'
never\t'Never'"
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l due -d 'Only due posts'
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l permanent -d 'Only permanently failed posts'
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -l json -d 'The same as `--format json`'
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -s q -l quiet -d 'Print the result only if the exit code is not 0; important warnings are always printed'
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -s v -l verbose -d 'Log what postretry does; repeat for more detail'
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c postretry -n "__fish_postretry_using_subcommand list-failed" -s V -l version -d 'Print version'
complete -c postretry -n "__fish_postretry_using_subcommand retry" -l platform -d 'Of a post for several platforms, retry only this one' -r -f -a "tiktok\t''
instagram\t''
youtube_shorts\t''"
complete -c postretry -n "__fish_postretry_using_subcommand retry" -l store -d 'The post store: `mongodb://…` or `sqlite:PATH`' -r
complete -c postretry -n "__fish_postretry_using_subcommand retry" -l env-file -d 'Read settings from this file instead of .env' -r -F
complete -c postretry -n "__fish_postretry_using_subcommand retry" -l format -d 'The output format' -r -f -a "table\t'A table for people'
json\t'One JSON document'
csv\t'Rows with a header (only for list-failed)'
prometheus\t'The Prometheus text format (only for stats)'"
complete -c postretry -n "__fish_postretry_using_subcommand retry" -l color -d 'When to use colour' -r -f -a "auto\t'If the output is a terminal'
always\t'Always'
never\t'Never'"
complete -c postretry -n "__fish_postretry_using_subcommand retry" -l force -d 'Also retry permanently failed posts, whose retry count is reset first; asks before an ambiguous one'
complete -c postretry -n "__fish_postretry_using_subcommand retry" -l yes -d 'Do not ask for confirmation'
complete -c postretry -n "__fish_postretry_using_subcommand retry" -l json -d 'The same as `--format json`'
complete -c postretry -n "__fish_postretry_using_subcommand retry" -s q -l quiet -d 'Print the result only if the exit code is not 0; important warnings are always printed'
complete -c postretry -n "__fish_postretry_using_subcommand retry" -s v -l verbose -d 'Log what postretry does; repeat for more detail'
complete -c postretry -n "__fish_postretry_using_subcommand retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c postretry -n "__fish_postretry_using_subcommand retry" -s V -l version -d 'Print version'
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l platform -d 'All posts for this platform; with IDs, only this platform of those posts (repeatable)' -r -f -a "tiktok\t''
instagram\t''
youtube_shorts\t''"
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l category -d 'All posts whose last failure has this category (repeatable)' -r -f -a "network\t''
platform_outage\t''
rate_limited\t''
quota_exhausted\t''
auth\t''
missing_asset\t''
media_processing\t''
processing\t''
rejected_content\t''
ambiguous\t''
account_restricted\t''
expired\t''
interrupted\t''
unknown\t''"
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l url -d 'The address at which you have found it' -r
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l store -d 'The post store: `mongodb://…` or `sqlite:PATH`' -r
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l env-file -d 'Read settings from this file instead of .env' -r -F
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l format -d 'The output format' -r -f -a "table\t'A table for people'
json\t'One JSON document'
csv\t'Rows with a header (only for list-failed)'
prometheus\t'The Prometheus text format (only for stats)'"
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l color -d 'When to use colour' -r -f -a "auto\t'If the output is a terminal'
always\t'Always'
never\t'Never'"
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l permanent -d 'All permanently failed posts'
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l posted -d 'You have found the post on its platform: record it as posted; with exactly one ID'
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l drop-ticket -d 'Remove the upload tickets too, so that the next attempt starts a new upload; asks first; needs IDs'
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l yes -d 'Do not ask for confirmation'
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l dry-run -d 'Show what would be reset; write nothing'
complete -c postretry -n "__fish_postretry_using_subcommand reset" -l json -d 'The same as `--format json`'
complete -c postretry -n "__fish_postretry_using_subcommand reset" -s q -l quiet -d 'Print the result only if the exit code is not 0; important warnings are always printed'
complete -c postretry -n "__fish_postretry_using_subcommand reset" -s v -l verbose -d 'Log what postretry does; repeat for more detail'
complete -c postretry -n "__fish_postretry_using_subcommand reset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c postretry -n "__fish_postretry_using_subcommand reset" -s V -l version -d 'Print version'
complete -c postretry -n "__fish_postretry_using_subcommand stats" -l since -d 'Count only runs within this time, for example 30d' -r
complete -c postretry -n "__fish_postretry_using_subcommand stats" -l store -d 'The post store: `mongodb://…` or `sqlite:PATH`' -r
complete -c postretry -n "__fish_postretry_using_subcommand stats" -l env-file -d 'Read settings from this file instead of .env' -r -F
complete -c postretry -n "__fish_postretry_using_subcommand stats" -l format -d 'The output format' -r -f -a "table\t'A table for people'
json\t'One JSON document'
csv\t'Rows with a header (only for list-failed)'
prometheus\t'The Prometheus text format (only for stats)'"
complete -c postretry -n "__fish_postretry_using_subcommand stats" -l color -d 'When to use colour' -r -f -a "auto\t'If the output is a terminal'
always\t'Always'
never\t'Never'"
complete -c postretry -n "__fish_postretry_using_subcommand stats" -l json -d 'The same as `--format json`'
complete -c postretry -n "__fish_postretry_using_subcommand stats" -s q -l quiet -d 'Print the result only if the exit code is not 0; important warnings are always printed'
complete -c postretry -n "__fish_postretry_using_subcommand stats" -s v -l verbose -d 'Log what postretry does; repeat for more detail'
complete -c postretry -n "__fish_postretry_using_subcommand stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c postretry -n "__fish_postretry_using_subcommand stats" -s V -l version -d 'Print version'
complete -c postretry -n "__fish_postretry_using_subcommand help; and not __fish_seen_subcommand_from run list-failed retry reset stats help" -f -a "run" -d 'Run one retry pass: publish every failed post that is due'
complete -c postretry -n "__fish_postretry_using_subcommand help; and not __fish_seen_subcommand_from run list-failed retry reset stats help" -f -a "list-failed" -d 'List failed posts with their retry state; with an ID, show one post in full'
complete -c postretry -n "__fish_postretry_using_subcommand help; and not __fish_seen_subcommand_from run list-failed retry reset stats help" -f -a "retry" -d 'Publish these failed posts now, without waiting for their backoff'
complete -c postretry -n "__fish_postretry_using_subcommand help; and not __fish_seen_subcommand_from run list-failed retry reset stats help" -f -a "reset" -d 'Reset the retry count'
complete -c postretry -n "__fish_postretry_using_subcommand help; and not __fish_seen_subcommand_from run list-failed retry reset stats help" -f -a "stats" -d 'Show counts, success rates, failure categories and past runs'
complete -c postretry -n "__fish_postretry_using_subcommand help; and not __fish_seen_subcommand_from run list-failed retry reset stats help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
