//! The records of a report: few of them in memory, many in an unnamed temporary file, so that a report over any number of
//! posts needs little memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How many records are kept in memory before they are moved to the file.
const IN_MEMORY: usize = 1_000;

/// How many bytes they may have: a title may have megabytes.
const BYTES_IN_MEMORY: u64 = 4 << 20;

/// Records in the order in which they were added.
#[derive(Debug)]
pub struct Records<T> {
    /// Earlier records, one JSON document a line.
    file: Option<File>,
    /// How much of the file is complete, in bytes.
    length: u64,
    /// How many records are in the file.
    in_file: u64,
    recent: Vec<T>,
    /// How long these are in the file's form.
    recent_bytes: u64,
    /// A disk that is full now may be full for the rest of the pass: then memory has to do.
    is_file_unusable: bool,
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Self { file: None, length: 0, in_file: 0, recent: Vec::new(), recent_bytes: 0, is_file_unusable: false }
    }
}

impl<T: Clone + Serialize + DeserializeOwned> Records<T> {
    /// Adds a record.
    pub fn push(&mut self, record: T) {
        let mut size = Size(0);
        // What has no form in the file is noticed when it is moved there.
        drop(serde_json::to_writer(&mut size, &record));
        self.recent_bytes = self.recent_bytes.saturating_add(size.0);
        self.recent.push(record);
        if (self.recent.len() >= IN_MEMORY || self.recent_bytes >= BYTES_IN_MEMORY)
            && !self.is_file_unusable
            && let Err(error) = self.move_to_file()
        {
            log::debug!("the records of this pass stay in memory: {error}");
            self.is_file_unusable = true;
        }
    }

    /// Adds the records of another report.
    ///
    /// # Errors
    /// If they cannot be read back from their file.
    pub fn append(&mut self, other: Self) -> io::Result<()> {
        if self.is_empty() {
            *self = other;
            return Ok(());
        }
        for record in other.iter() {
            self.push(record?.into_owned());
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.in_file.saturating_add(self.recent.len() as u64)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records, or why they cannot be read back from their file.
    pub fn iter(&self) -> impl Iterator<Item = io::Result<Cow<'_, T>>> {
        let lines =
            self.file.iter().flat_map(|file| BufReader::new(FileReader { file, at: 0, end: self.length }).lines());
        let stored = lines.map(|line| Ok(Cow::Owned(serde_json::from_str(&line?)?)));
        stored.chain(self.recent.iter().map(|record| Ok(Cow::Borrowed(record))))
    }

    fn move_to_file(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        for record in &self.recent {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        // What was written of an attempt that failed is written over or never read.
        file.write_all_at(&lines, self.length)?;
        self.length = self.length.saturating_add(lines.len() as u64);
        self.in_file = self.len();
        self.recent.clear();
        self.recent_bytes = 0;
        Ok(())
    }
}

/// Counts what is written to it.
struct Size(u64);

impl io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a part of a file without moving its position, which others share.
struct FileReader<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..left], self.at)?;
        if read == 0 && left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push_all(records: &mut Records<String>, all: impl IntoIterator<Item = String>) {
        all.into_iter().for_each(|record| records.push(record));
    }

    fn read(records: &Records<String>) -> Vec<String> {
        records.iter().map(|record| record.unwrap().into_owned()).collect()
    }

    #[test]
    fn many_records_come_back_in_order_and_are_not_in_memory() {
        let mut records = Records::default();
        let expected: Vec<String> = (0..2_500).map(|number| format!("{number}\n\u{1}é")).collect();
        push_all(&mut records, expected.clone());
        assert_eq!(records.len(), 2_500);
        assert_eq!(records.recent.len(), 500);
        assert_eq!(read(&records), expected);
        let mut all = Records::default();
        all.push("first".to_owned());
        all.append(records).unwrap();
        assert_eq!(all.len(), 2_501);
        assert_eq!(read(&all)[1..], expected);
    }

    #[test]
    fn a_few_very_long_records_are_not_in_memory_either() {
        let mut records = Records::default();
        let expected: Vec<String> = ('a'..='e').map(|letter| letter.to_string().repeat(3 << 20)).collect();
        push_all(&mut records, expected.clone());
        assert_eq!(records.recent.len(), 1);
        assert_eq!(read(&records), expected);
    }

    #[test]
    fn a_file_that_cannot_be_written_costs_no_record() {
        let mut records = Records::default();
        push_all(&mut records, (0..1_000).map(|number| number.to_string()));
        // Only for reading from now on.
        records.file = Some(File::open("/dev/null").unwrap());
        let length = records.length;
        push_all(&mut records, (0..3_000).map(|number| number.to_string()));
        assert_eq!((records.recent.len(), records.length, records.len()), (3_000, length, 4_000));
    }
}
