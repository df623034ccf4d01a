import { runSuites } from './ways.ts';

runSuites('cold');
