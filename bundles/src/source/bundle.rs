//! A bundle as a source: to compress it otherwise, to leave something out, to translate its whiteouts.

use std::io::{self, Read};

use super::{Contents, FileReader, Source};
use crate::{Bundle, ContentId, ContentReader, Error};

/// All that is in a bundle.
///
/// # Errors
/// The bundle is damaged, or asks for more than its limits.
pub fn bundle(bundle: Bundle) -> Result<Source, Error> {
    let tree = bundle.tree()?.clone();
    Ok(Source { tree, contents: Box::new(BundleContents(bundle)), warnings: Vec::new() })
}

struct BundleContents(Bundle);

impl Contents for BundleContents {
    fn open(&mut self, content: ContentId) -> Result<Box<dyn FileReader + '_>, Error> {
        Ok(Box::new(BundleFile(self.0.reader(content)?)))
    }
}

struct BundleFile<'a>(ContentReader<'a>);

impl Read for BundleFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl FileReader for BundleFile<'_> {
    fn hole(&mut self) -> io::Result<u64> {
        self.0.hole().map_err(io::Error::other)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.0.skip(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::source::directory;
    use crate::source::view::{run, view};
    use crate::{Kind, Wanted};

    #[test]
    fn a_bundle_gives_what_went_in() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("d/e")).unwrap();
        fs::write(tree.join("d/small"), "tail").unwrap();
        fs::hard_link(tree.join("d/small"), tree.join("again")).unwrap();
        fs::write(tree.join("blocks"), [7; 300_000]).unwrap();
        std::os::unix::fs::symlink("d", tree.join("link")).unwrap();
        let file = File::create(tree.join("holes")).unwrap();
        file.write_all_at(&[1; 10], 1 << 20).unwrap();
        file.write_all_at(&[2; 10], 3 << 20).unwrap();
        file.set_len(4 << 20).unwrap();
        run("mksquashfs", &["tree", "x.sb", "-quiet", "-no-progress", "-comp", "zstd"], dir.path());
        let expected = view(&mut directory(&tree, &mut |_, _| Wanted::Keep).unwrap());
        let mut source = bundle(Bundle::open(&dir.path().join("x.sb")).unwrap()).unwrap();
        // Twice: it can be read in any order.
        assert_eq!(view(&mut source), expected);
        assert_eq!(view(&mut source), expected);
        let id = source.tree.find("holes".as_ref()).unwrap();
        let Kind::File { content, .. } = source.tree.node(id).kind else { panic!("no file") };
        let mut reader = source.contents.open(content).unwrap();
        assert_eq!(reader.hole().unwrap(), 1 << 20);
        reader.skip(4096).unwrap();
        assert_eq!(reader.hole().unwrap(), (1 << 20) - 4096);
        reader.read_exact(&mut [9; 100]).unwrap();
        reader.skip((1 << 20) - 4196).unwrap();
        assert_eq!(reader.hole().unwrap(), 0);
        let mut block = vec![9; 128 << 10];
        reader.read_exact(&mut block).unwrap();
        assert_eq!(
            (&block[..12], reader.hole().unwrap()),
            (&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0][..], (2 << 20) - (128 << 10))
        );
    }
}
