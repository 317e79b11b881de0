//! The body of an upload that brings its metadata along: `multipart/related` (RFC 2387).

/// The two parts of such a body.
#[derive(Debug)]
pub(crate) struct Related<'b> {
    pub(crate) metadata: &'b [u8],
    pub(crate) media_type: String,
    pub(crate) media: &'b [u8],
}

/// What Google says of a body that does not end, and of any other that it cannot take apart.
const ENDLESS: &str = "Missing end boundary in multipart body.";
const MALFORMED: &str = "Malformed multipart body.";

/// Takes a body apart.
pub(crate) fn parse<'b>(content_type: &str, body: &'b [u8]) -> Result<Related<'b>, &'static str> {
    let opening = format!("--{}", boundary_of(content_type).ok_or(MALFORMED)?);
    let (_, mut rest) = split_once(body, opening.as_bytes()).ok_or(ENDLESS)?;
    // Google's Python client ends its lines with a line feed alone. As the first line ends, so do all.
    let line_end: &[u8] = if rest.starts_with(b"\r\n") { b"\r\n" } else { b"\n" };
    let delimiter = [line_end, opening.as_bytes()].concat();
    let blank_line = [line_end, line_end].concat();
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let after_line = rest.strip_prefix(line_end).ok_or(MALFORMED)?;
        let (part, after_part) = split_once(after_line, &delimiter).ok_or(ENDLESS)?;
        parts.push(split_once(part, &blank_line).ok_or(MALFORMED)?);
        rest = after_part;
    }
    let &[(_, metadata), (media_head, media)] = parts.as_slice() else { return Err(MALFORMED) };
    Ok(Related { metadata, media_type: content_type_of(media_head), media })
}

fn boundary_of(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/related") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    });
    boundary.filter(|boundary| !boundary.is_empty())
}

fn content_type_of(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    let content_type = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    });
    content_type.unwrap_or_default()
}

fn split_once<'b>(bytes: &'b [u8], separator: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/related; boundary=\"=b=\"";

    #[test]
    fn both_ends_of_lines_are_taken_and_the_media_is_kept_to_the_byte() {
        for end in ["\r\n", "\n"] {
            let head = format!("--=b={end}content-type: application/json{end}{end}{{}}{end}--=b={end}");
            let media_head = format!("MIME-Version: 1.0{end}Content-Type: video/mp4{end}{end}");
            let media = b"\r\n\r\nbytes\0\xff--=b=\n\r";
            for tail in ["", end] {
                let last = format!("{end}--=b=--{tail}");
                let body = [head.as_bytes(), media_head.as_bytes(), media, last.as_bytes()].concat();
                let related = parse(TYPE, &body).unwrap();
                assert_eq!((related.metadata, related.media), (b"{}".as_slice(), media.as_slice()));
                assert_eq!(related.media_type, "video/mp4");
            }
        }
    }

    #[test]
    fn what_cannot_be_taken_apart_is_refused() {
        let whole = "--=b=\nA: b\n\n{}\n--=b=\nA: b\n\nmedia\n--=b=--";
        assert!(parse(TYPE, whole.as_bytes()).is_ok());
        for (content_type, body, expected) in [
            ("multipart/related", whole, MALFORMED),
            ("multipart/form-data; boundary=\"=b=\"", whole, MALFORMED),
            ("multipart/related; boundary=other", whole, ENDLESS),
            (TYPE, &whole[..whole.len() - 8], ENDLESS),
            (TYPE, "--=b=\nA: b\n{}\n--=b=\nA: b\n\nmedia\n--=b=--", MALFORMED),
            (TYPE, "--=b=\nA: b\n\n{}\n--=b=--", MALFORMED),
            (TYPE, "--=b=--", MALFORMED),
        ] {
            assert_eq!(parse(content_type, body.as_bytes()).unwrap_err(), expected, "{content_type} {body}");
        }
    }
}
