// @vladmandic/face-api's expression network on face crops, on tfjs's WebAssembly backend;
// peer_process.py says how it is asked.
//
// A gray crop becomes three equal channels; the rest is face-api's own (bilinear to 112 x 112, less
// the mean colour, over 255), called by `predictExpressions` as after its detection.
//
// Usage: node peer_face_api.js PICTURES SIDE FOLDER      where FOLDER holds node_modules
'use strict';

const fs = require('fs');
const path = require('path');
const readline = require('readline');
const { createRequire } = require('module');

// What the libraries print must not stand between the answers.
console.log = console.info = console.error;

const [file, sideText, folder] = process.argv.slice(2);
const side = Number(sideText);
const need = createRequire(path.join(folder, 'here.js'));
const tf = need('@tensorflow/tfjs');
const wasm = need('@tensorflow/tfjs-backend-wasm');
const faceapi = need('@vladmandic/face-api/dist/face-api.node-wasm.js');

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function answer(gray) {
  const colour = new Uint8Array(3 * gray.length);
  for (let i = 0; i < gray.length; i += 1) colour.fill(gray[i], 3 * i, 3 * i + 3);
  const tensor = tf.tensor3d(colour, [side, side, 3], 'int32');
  const expressions = await faceapi.nets.faceExpressionNet.predictExpressions(tensor);
  tensor.dispose();
  return expressions;
}

async function main() {
  wasm.setThreadsCount(1);
  await tf.setBackend('wasm');
  await tf.ready();
  const home = path.dirname(need.resolve('@vladmandic/face-api/package.json'));
  await faceapi.nets.faceExpressionNet.loadFromDisk(path.join(home, 'model'));
  const pictures = fs.readFileSync(file);
  const picture = (i) => pictures.subarray(i * side * side, (i + 1) * side * side);
  const names = Object.keys(await answer(picture(0)));
  say({
    names,
    preprocessing: 'gray to three channels, bilinear to 112 x 112, (x - mean colour) / 255',
    versions: {
      'face-api': faceapi.version,
      tfjs: tf.version_core,
      backend: faceapi.tf.getBackend(),
      simd: String(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')),
      node: process.version,
    },
  });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [start, stop] = line.split(' ').map(Number);
    const scores = [];
    const milliseconds = [];
    const processorMilliseconds = [];
    for (let i = start; i < stop; i += 1) {
      const begin = performance.now();
      const beginProcessor = process.cpuUsage();
      const expressions = await answer(picture(i));
      scores.push(names.map((name) => expressions[name]));
      const { user, system } = process.cpuUsage(beginProcessor);
      processorMilliseconds.push((user + system) / 1e3);
      milliseconds.push(performance.now() - begin);
    }
    say({ scores, milliseconds, processor_milliseconds: processorMilliseconds });
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
