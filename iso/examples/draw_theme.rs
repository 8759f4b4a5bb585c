//! Draws the pictures of the boot menu's theme into a directory: `cargo run -p iso --example draw_theme -- iso/src/menu/theme`.
//! They are committed, as they only change with this file.

use std::f64::consts::TAU;
use std::fs::File;
use std::path::Path;

const WIDTH: u32 = 1024;
const HEIGHT: u32 = 768;

type Colour = [f64; 3];

/// The sky, from the top to the horizon: place in the height, colour.
const SKY: [(f64, Colour); 5] = [
    (0.00, [10.0, 20.0, 40.0]),
    (0.35, [24.0, 49.0, 84.0]),
    (0.55, [66.0, 92.0, 128.0]),
    (0.68, [178.0, 142.0, 134.0]),
    (0.78, [236.0, 178.0, 128.0]),
];

/// A range of hills: height of its middle, size of its waves, their number on the width, phase, colours at the crest and below.
struct Ridge {
    middle: f64,
    swing: f64,
    waves: f64,
    phase: f64,
    crest: Colour,
    foot: Colour,
}

const RIDGES: [Ridge; 4] = [
    Ridge {
        middle: 0.655,
        swing: 0.055,
        waves: 1.3,
        phase: 0.55,
        crest: [120.0, 122.0, 148.0],
        foot: [176.0, 150.0, 150.0],
    },
    Ridge {
        middle: 0.725,
        swing: 0.050,
        waves: 1.7,
        phase: 0.10,
        crest: [70.0, 88.0, 122.0],
        foot: [118.0, 116.0, 138.0],
    },
    Ridge {
        middle: 0.800,
        swing: 0.045,
        waves: 1.1,
        phase: 0.80,
        crest: [34.0, 54.0, 88.0],
        foot: [58.0, 72.0, 104.0],
    },
    Ridge {
        middle: 0.880,
        swing: 0.040,
        waves: 0.9,
        phase: 0.30,
        crest: [11.0, 24.0, 46.0],
        foot: [6.0, 13.0, 26.0],
    },
];

const SUN: (f64, f64, f64) = (0.735, 0.545, 0.052);
const SUN_COLOUR: Colour = [255.0, 226.0, 178.0];

fn mix(from: Colour, to: Colour, part: f64) -> Colour {
    let part = part.clamp(0.0, 1.0);
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * part)
}

fn sky(y: f64) -> Colour {
    let after = SKY.iter().position(|&(place, _)| place > y).unwrap_or(SKY.len() - 1).max(1);
    let ((from, above), (to, below)) = (SKY[after - 1], SKY[after]);
    mix(above, below, (y - from) / (to - from))
}

/// The height of a crest at `x`: a few waves that do not repeat on the picture.
fn crest(ridge: &Ridge, x: f64) -> f64 {
    let turn = |factor: f64, shift: f64| (TAU * (x * ridge.waves * factor + ridge.phase + shift)).sin();
    ridge.middle - ridge.swing * (0.62 * turn(1.0, 0.0) + 0.26 * turn(2.3, 0.4) + 0.12 * turn(5.1, 0.7))
}

fn pixel(column: u32, row: u32) -> Colour {
    let (x, y) = (f64::from(column) / f64::from(WIDTH), f64::from(row) / f64::from(HEIGHT));
    let line = 1.0 / f64::from(HEIGHT);
    let (dx, dy) = ((x - SUN.0) * f64::from(WIDTH) / f64::from(HEIGHT), y - SUN.1);
    let distance = dx.hypot(dy);
    let mut colour = sky(y);
    colour = mix(colour, SUN_COLOUR, (SUN.2 - distance) / line + 0.5);
    for ridge in &RIDGES {
        let depth = y - crest(ridge, x);
        // One line of transition smooths the edge.
        colour = mix(colour, mix(ridge.crest, ridge.foot, depth / 0.16), depth / line + 0.5);
    }
    colour
}

#[expect(clippy::cast_possible_truncation, reason = "colours are within 0 and 255")]
fn bytes(colour: Colour) -> [u8; 3] {
    colour.map(|channel| channel.round() as u8)
}

fn save(path: &Path, width: u32, height: u32, colours: png::ColorType, data: &[u8]) {
    let mut encoder =
        png::Encoder::new(File::create(path).expect("cannot create the picture"), width, height);
    encoder.set_color(colours);
    encoder.set_compression(png::Compression::High);
    encoder.set_filter(png::Filter::Adaptive);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(data))
        .expect("cannot write the picture");
}

fn main() {
    let directory = std::env::args_os().nth(1).expect("usage: draw_theme DIRECTORY");
    let directory = Path::new(&directory);
    let picture: Vec<u8> =
        (0..HEIGHT).flat_map(|row| (0..WIDTH).flat_map(move |column| bytes(pixel(column, row)))).collect();
    save(&directory.join("background.png"), WIDTH, HEIGHT, png::ColorType::Rgb, &picture);

    // The chosen entry: a faint bar with a warm edge on its left. GRUB stretches the pieces in height, the middle in width.
    let faint = [255, 255, 255, 38];
    let warm = [244, 184, 120, 255];
    let bar = |name: &str, pixels: &[[u8; 4]], height: u32| {
        let data: Vec<u8> = (0..height).flat_map(|_| pixels.concat()).collect();
        let width = u32::try_from(pixels.len()).expect("a few pixels");
        save(&directory.join(name), width, height, png::ColorType::Rgba, &data);
    };
    bar("select_c.png", &[faint; 8], 8);
    bar("select_e.png", &[faint; 16], 8);
    let mut edge = [faint; 16];
    edge[..3].fill(warm);
    bar("select_w.png", &edge, 8);
    bar("accent.png", &[warm; 40], 3);
}
