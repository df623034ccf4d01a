import { runSuites } from './ways.ts';

runSuites('mixed');
