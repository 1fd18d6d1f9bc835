// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Fleece.Qemu.Qmp;

/// <summary>The commands of QMP that Fleece uses, typed.</summary>
/// <remarks>Errors. As <see cref="IQmpChannel.ExecuteAsync"/>; each reply is checked, and one without a member that it must have is
/// <see cref="QemuErrors.NotQmp"/>. Names and members are those of QEMU's QMP reference, sections "Block devices", "Block device exports",
/// "Transactions", "QOM" and "Run State".</remarks>
internal sealed partial class QemuMonitor(IQmpChannel channel)
{
    /// <summary>The monitor's socket.</summary>
    public string SocketPath => channel.SocketPath;

    /// <summary>The version in the greeting.</summary>
    public QemuVersion Version => channel.Version;

    /// <summary>Events.</summary>
    public IQmpChannel Channel => channel;

    /// <summary>Stops the guest's processors and completes its I/O. Flushes all disks.</summary>
    public ValueTask StopAsync(CancellationToken cancellationToken) => RunAsync("stop", null, cancellationToken);

    /// <summary>Lets the guest's processors run.</summary>
    public ValueTask ContinueAsync(CancellationToken cancellationToken) => RunAsync("cont", null, cancellationToken);

    /// <summary>Adds a block node.</summary>
    public ValueTask AddNodeAsync(JsonObject options, CancellationToken cancellationToken) =>
        RunAsync("blockdev-add", options, cancellationToken);

    /// <summary>Removes a block node that has no users.</summary>
    public ValueTask DeleteNodeAsync(string nodeName, CancellationToken cancellationToken) =>
        RunAsync("blockdev-del", new JsonObject { ["node-name"] = nodeName }, cancellationToken);

    /// <summary>Puts another node under a device.</summary>
    public ValueTask SetDriveAsync(string qomPath, string nodeName, CancellationToken cancellationToken) =>
        RunAsync("qom-set", new JsonObject { ["path"] = qomPath, ["property"] = "drive", ["value"] = nodeName }, cancellationToken);

    /// <summary>Runs actions so that all or none take effect, at one moment for the guest's I/O.</summary>
    public ValueTask RunTransactionAsync(IReadOnlyList<JsonObject> actions, CancellationToken cancellationToken) => actions.Count == 0
        ? default
        : RunAsync(
            "transaction",
            new JsonObject { ["actions"] = new JsonArray([.. actions.Select(action => action.DeepClone())]) },
            cancellationToken);

    /// <summary>Lets QEMU's NBD server listen at a unix socket.</summary>
    public ValueTask StartNbdServerAsync(string socketPath, CancellationToken cancellationToken) => RunAsync(
        "nbd-server-start",
        new JsonObject { ["addr"] = new JsonObject { ["type"] = "unix", ["data"] = new JsonObject { ["path"] = socketPath } } },
        cancellationToken);

    /// <summary>Ends QEMU's NBD server and all of its exports.</summary>
    public ValueTask StopNbdServerAsync(CancellationToken cancellationToken) => RunAsync("nbd-server-stop", null, cancellationToken);

    /// <summary>Adds an export.</summary>
    public ValueTask AddExportAsync(JsonObject options, CancellationToken cancellationToken) =>
        RunAsync("block-export-add", options, cancellationToken);

    /// <summary>Asks an export to end, with its connections; BLOCK_EXPORT_DELETED says when it has.</summary>
    public ValueTask DeleteExportAsync(string id, CancellationToken cancellationToken) =>
        RunAsync("block-export-del", new JsonObject { ["id"] = id, ["mode"] = "hard" }, cancellationToken);

    /// <summary>Starts a backup job.</summary>
    public ValueTask StartBackupAsync(JsonObject options, CancellationToken cancellationToken) =>
        RunAsync("blockdev-backup", options, cancellationToken);

    /// <summary>Asks a job to end.</summary>
    public ValueTask CancelJobAsync(string id, CancellationToken cancellationToken) =>
        RunAsync("block-job-cancel", new JsonObject { ["device"] = id }, cancellationToken);

    /// <summary>Runs a command whose answer holds nothing.</summary>
    public async ValueTask RunAsync(string command, JsonObject? arguments, CancellationToken cancellationToken) =>
        _ = await channel.ExecuteAsync(command, arguments, cancellationToken).ConfigureAwait(false);

    /// <summary>Runs a command.</summary>
    public ValueTask<JsonElement> AskAsync(string command, JsonObject? arguments, CancellationToken cancellationToken) =>
        channel.ExecuteAsync(command, arguments, cancellationToken);
}
