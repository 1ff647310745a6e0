// Node's HTTP server with nothing behind it: reads a JSON body and answers with a small one.
import { createServer } from 'node:http'

createServer((request, response) => {
  let text = ''
  request.setEncoding('utf8')
  request.on('data', (chunk) => {
    text += chunk
  })
  request.on('end', () => {
    JSON.parse(text || '{}')
    response.setHeader('content-type', 'application/json')
    response.end('{"event_id":"$0000000000000000000000000000000000000000000"}')
  })
}).listen(Number(process.argv[2]), '127.0.0.1', () => process.stdout.write('ready\n'))
