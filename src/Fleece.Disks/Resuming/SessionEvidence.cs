// SPDX-License-Identifier: MIT
using Fleece.Block.Files;

namespace Fleece.Disks.Resuming;

/// <summary>How an orderly end left the files of a session, all of them closed and durable.</summary>
/// <param name="Image">The disk's image.</param>
/// <param name="Temp">The temp image.</param>
internal sealed record SessionEvidence(FileEvidence Image, FileEvidence Temp);
