// Read DICOM objects by dcmjs alone, and print what it finds as JSON; the arguments are the paths of a structured report
// and of segmentations.
import { readFileSync } from "node:fs";
import dcmjs from "dcmjs";

const { DicomMessage, DicomMetaDictionary } = dcmjs.data;

function read(path) {
  const bytes = readFileSync(path);
  const message = DicomMessage.readFile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return DicomMetaDictionary.naturalizeDataset(message.dict);
}

const list = (value) => (Array.isArray(value) ? value : value === undefined ? [] : [value]);
const nameOf = (item) => list(item.ConceptNameCodeSequence)[0]?.CodeValue;
const codeOf = (item) => list(item.ConceptCodeSequence)[0];
const below = (item, name) => list(item.ContentSequence).filter((child) => nameOf(child) === name);

// A measurement group (TID 1410): site, finding, probability, and the point in the slice.
function group(item) {
  const [region] = below(item, "111030");
  const image = list(list(region?.ContentSequence)[0]?.ReferencedSOPSequence)[0];
  const [measurement] = list(item.ContentSequence).filter((child) => child.ValueType === "NUM");
  return {
    site: codeOf(below(item, "363698007")[0])?.CodeMeaning,
    finding: codeOf(below(item, "121071")[0])?.CodeMeaning,
    probability: Number(list(measurement?.MeasuredValueSequence)[0]?.NumericValue),
    pixel: list(region?.GraphicData).map(Number),
    image: image?.ReferencedSOPInstanceUID,
  };
}

const bits = (pixels) => dcmjs.data.BitArray.unpack(pixels).reduce((sum, value) => sum + (value ? 1 : 0), 0);

function segmentation(dataset) {
  const [measures] = list(list(dataset.SharedFunctionalGroupsSequence)[0]?.PixelMeasuresSequence);
  return {
    type: dataset.SegmentationType,
    voxels: dataset.SegmentationType === "BINARY" ? bits(list(dataset.PixelData)[0]) : null, // the other is compressed
    frames: list(dataset.PerFrameFunctionalGroupsSequence).length,
    spacing: list(measures?.PixelSpacing).map(Number),
    segments: list(dataset.SegmentSequence).map((item) => ({
      number: item.SegmentNumber,
      label: item.SegmentLabel,
      color: dcmjs.data.Colors.dicomlab2RGB(list(item.RecommendedDisplayCIELabValue)).map((x) => Math.round(x * 255)),
    })),
  };
}

const [reportPath, ...segmentationPaths] = process.argv.slice(2);
const report = read(reportPath);
const [measurements] = below(report, "126010");
console.log(
  JSON.stringify({
    groups: list(measurements?.ContentSequence).map(group),
    segmentations: segmentationPaths.map((path) => segmentation(read(path))),
  }),
);
