// Standard JSON on stdin -> standard JSON on stdout, through the npm package's JavaScript API.
//
// Why not the package's own `solcjs --standard-json`: it reads stdin with fs.readFileSync(0), which
// fails with EAGAIN when stdin is a non-blocking pipe, and that is what forge and Python give it.
// Flags other than --version are accepted and ignored: callers pass --base-path, --allow-paths and
// the like, and every source arrives inlined, so there is nothing for them to steer.
'use strict';

let solc;
try {
  solc = require('solc');
} catch (error) {
  console.error(`solc: the npm package "solc" is missing (${error.code}). Install it with: npm ci`);
  process.exit(127);
}

if (process.argv.includes('--version')) {
  process.stdout.write(
    `solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else {
  const chunks = [];
  process.stdin.on('data', (chunk) => chunks.push(chunk));
  process.stdin.on('error', (error) => {
    console.error(`solc: cannot read stdin: ${error.message}`);
    process.exitCode = 1;
  });
  process.stdin.on('end', () => {
    const output = solc.compile(Buffer.concat(chunks).toString('utf8'));
    // The emscripten runtime must not cut a long answer short: exit only when it is flushed.
    process.stdout.write(output);
  });
}
