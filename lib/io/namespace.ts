/** Network namespaces: something done in another one, such as a socket that is opened or a setting that is written. */
export { inNamespace } from './native/link.ts';
