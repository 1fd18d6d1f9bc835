// SPDX-License-Identifier: MIT
using Fleece.Backups.Writing;
using Fleece.Disks;

namespace Fleece.Backups.Tests;

/// <summary>Backups that are files.</summary>
internal static class FileBackup
{
    public static async Task<BackupWriter> BeginAsync(FileTargetOptions options, ISnapshotSource source) =>
        new(source, await FileTarget.CreateAsync(options, source, CancellationToken.None));
}
