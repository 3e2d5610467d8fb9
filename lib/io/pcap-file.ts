/** Capture files as ports. */
export { PcapReader, type PcapReaderOptions } from './pcap-reader.ts';
export { PcapWriter, type PcapWriterOptions } from './pcap-writer.ts';
