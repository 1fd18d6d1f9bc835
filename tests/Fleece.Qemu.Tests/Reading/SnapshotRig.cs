// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Qemu.Qmp;
using Fleece.Qemu.Reading;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Reading;

/// <summary>A QEMU without a guest's system that keeps a snapshot of a disk: the disk is written over one export and the snapshot is
/// another.</summary>
public sealed class SnapshotRig : IAsyncDisposable
{
    public const int ClusterBytes = 64 * 1024;

    // A name as sessions make them.
    private const string BitmapName = "daily@2026-11-29T12:00:00+";

    private readonly TempFolder _folder = new();
    private readonly Process _process;
    private bool _hasBitmap;

    private SnapshotRig(string program, byte[] content)
    {
        Content = content;
        WriteWithHoles(_folder.File("active"), content);
        WriteWithHoles(_folder.File("temp"), new byte[content.Length]);
        _process = Peer.Start(
            program, "-nodefaults", "-display", "none", "-machine", "none", "-S", "-qmp", "stdio");
        _process.ErrorDataReceived += (_, line) => Said += line.Data;
        _process.BeginErrorReadLine();
    }

    /// <summary>The programs to test against: that of the system, and the one that the environment names.</summary>
    public static TheoryData<string> Programs
    {
        get
        {
            TheoryData<string> programs = new("qemu-system-x86_64");
            if (Environment.GetEnvironmentVariable("QEMU10_SYSTEM") is { Length: not 0 } other)
            {
                programs.Add(other);
            }

            return programs;
        }
    }

    /// <summary>The disk at the instant.</summary>
    public byte[] Content { get; }

    /// <summary>The disk as the guest has it.</summary>
    internal NbdNode Guest { get; private set; } = null!;

    internal QemuVersion Version { get; private set; }

    /// <summary>What QEMU has written to standard error.</summary>
    public string Said { get; private set; } = string.Empty;

    /// <summary>Allocated bytes of temp.</summary>
    public async Task<long> CountTempBytesAsync() =>
        long.Parse((await Peer.RunAsync("stat", "-c", "%b", _folder.File("temp"))).Trim(), CultureInfo.InvariantCulture) * 512;

    /// <summary>Starts QEMU and pins the instant.</summary>
    /// <param name="program">QEMU.</param>
    /// <param name="content">The disk; a multiple of 512 bytes long.</param>
    /// <param name="dirty">What the bitmap that limits the snapshot has recorded; null for no bitmap.</param>
    /// <param name="tempFails">True for a temp that takes no data, and a guest that does not notice.</param>
    /// <param name="activeUri">The NBD export that is the disk; null for a file.</param>
    internal static async Task<SnapshotRig> StartAsync(
        string program, byte[] content, IReadOnlyList<BlockRange>? dirty = null, bool tempFails = false, NbdUri? activeUri = null)
    {
        Peer.Need(program);
        SnapshotRig rig = new(program, content);
        try
        {
            await rig.BuildAsync(dirty, tempFails, activeUri);
            return rig;
        }
        catch
        {
            await rig.DisposeAsync();
            throw;
        }
    }

    /// <summary>Opens the snapshot as a session does.</summary>
    /// <param name="onCopyError">What the snapshot believes of QEMU, which always breaks the snapshot.</param>
    internal ValueTask<QemuSnapshot> OpenAsync(CopyErrorPolicy onCopyError = CopyErrorPolicy.BreakSnapshot) => QemuSnapshot.OpenAsync(
        new QemuSnapshotOptions(
            UriOf("snapshot"), "vm/s1", ClusterBytes, _hasBitmap ? BitmapName : null, Rules(), onCopyError),
        TestContext.Current.CancellationToken);

    /// <summary>Fails where QEMU has ended.</summary>
    public async Task CheckAliveAsync() => await ExecuteAsync("query-status", []);

    public NbdUri UriOf(string export) => NbdUri.Parse($"nbd+unix:///{export}?socket={_folder.File("nbd")}");

    public void Kill() => _process.Kill();

    public async ValueTask DisposeAsync()
    {
        if (Guest is not null)
        {
            await Guest.DisposeAsync();
        }

        if (!_process.HasExited)
        {
            _process.Kill();
        }

        await _process.WaitForExitAsync();
        _process.Dispose();
        _folder.Dispose();
    }

    // FLEECE_QEMU_WITHOUT=clusters or overlaps leaves a rule out, to see what QEMU does then.
    private QemuReadRules Rules()
    {
        string? without = Environment.GetEnvironmentVariable("FLEECE_QEMU_WITHOUT");
        QemuReadRules rules = QemuReadRules.Of(Version);
        return without switch
        {
            "clusters" => rules with { ReadsOneClusterAtATime = false },
            "overlaps" => rules with { RefusesOverlaps = false },
            _ => rules,
        };
    }

    // So that the file system tells zeros.
    private static void WriteWithHoles(string path, ReadOnlySpan<byte> content)
    {
        const int BlockBytes = 4096;
        using FileStream file = File.Create(path);
        file.SetLength(content.Length);
        for (int at = 0; at < content.Length; at += BlockBytes)
        {
            ReadOnlySpan<byte> block = content[at..Math.Min(content.Length, at + BlockBytes)];
            if (block.ContainsAnyExcept((byte)0))
            {
                RandomAccess.Write(file.SafeFileHandle, block, at);
            }
        }
    }

    private async Task BuildAsync(IReadOnlyList<BlockRange>? dirty, bool tempFails, NbdUri? activeUri)
    {
        await _process.StandardOutput.ReadLineAsync();
        await ExecuteAsync("qmp_capabilities", []);
        JsonNode version = (await ExecuteAsync("query-version", []))["qemu"]!;
        Version = new QemuVersion((int)version["major"]!, (int)version["minor"]!, (int)version["micro"]!);
        JsonObject socket = new() { ["type"] = "unix", ["data"] = new JsonObject { ["path"] = _folder.File("nbd") } };
        await ExecuteAsync("nbd-server-start", new JsonObject { ["addr"] = socket });
        await ExecuteAsync("blockdev-add", activeUri is null ? FileNode("active") : RemoteNode("active", activeUri));
        JsonObject filter = new()
        {
            ["driver"] = "copy-before-write",
            ["node-name"] = "filter",
            ["file"] = "active",
            ["target"] = "temp",
            ["discard"] = "unmap",
            ["on-cbw-error"] = "break-snapshot",
        };
        JsonObject snapshot = Export("snapshot", "access");
        if (dirty is not null)
        {
            await RecordAsync(dirty);
            filter["bitmap"] = new JsonObject { ["node"] = "active", ["name"] = BitmapName };
            snapshot["bitmaps"] = new JsonArray(new JsonObject { ["node"] = "active", ["name"] = BitmapName });
        }

        await ExecuteAsync("blockdev-add", tempFails ? FailingNode("temp") : FileNode("temp"));
        await ExecuteAsync("blockdev-add", filter);
        await ExecuteAsync(
            "blockdev-add",
            new JsonObject { ["driver"] = "snapshot-access", ["node-name"] = "access", ["file"] = "filter", ["discard"] = "unmap" });
        await ExecuteAsync("block-export-add", snapshot);
        await ExecuteAsync("block-export-add", Export("guest", "filter"));
        Guest = await NbdNode.ConnectAsync(UriOf("guest"), new NbdNodeOptions(), TestContext.Current.CancellationToken);
    }

    // The bitmap records ranges when they are written, with the bytes that they have.
    private async Task RecordAsync(IReadOnlyList<BlockRange> dirty)
    {
        _hasBitmap = true;
        await ExecuteAsync(
            "block-dirty-bitmap-add",
            new JsonObject { ["node"] = "active", ["name"] = BitmapName, ["granularity"] = ClusterBytes });
        await ExecuteAsync("block-export-add", Export("record", "active"));
        await using (NbdNode node = await NbdNode.ConnectAsync(UriOf("record"), new NbdNodeOptions(), CancellationToken.None))
        {
            foreach (BlockRange range in dirty)
            {
                Memory<byte> bytes = Content.AsMemory((int)range.OffsetBytes, (int)range.LengthBytes);
                await node.WriteAsync(range.OffsetBytes, bytes, WriteFlags.None, CancellationToken.None);
            }
        }

        await ExecuteAsync("block-dirty-bitmap-disable", new JsonObject { ["node"] = "active", ["name"] = BitmapName });
        await ExecuteAsync("block-export-del", new JsonObject { ["id"] = "record", ["mode"] = "hard" });
        while ((await ExecuteAsync("query-block-exports", [])).AsArray().Count != 0)
        {
            await Task.Yield();
        }
    }

    private JsonObject FileNode(string name) => new()
    {
        ["driver"] = "file",
        ["node-name"] = name,
        ["filename"] = _folder.File(name),
        ["discard"] = "unmap",
    };

    private static JsonObject RemoteNode(string name, NbdUri uri) => new()
    {
        ["driver"] = "nbd",
        ["node-name"] = name,
        ["server"] = new JsonObject { ["type"] = "unix", ["path"] = uri.SocketPath },
        ["export"] = uri.ExportName,
    };

    private JsonObject FailingNode(string name) => new()
    {
        ["driver"] = "blkdebug",
        ["node-name"] = name,
        ["discard"] = "unmap",
        ["image"] = new JsonObject { ["driver"] = "file", ["filename"] = _folder.File(name), ["discard"] = "unmap" },
        ["inject-error"] = new JsonArray(
            new JsonObject { ["event"] = "none", ["iotype"] = "write", ["errno"] = 5 },
            new JsonObject { ["event"] = "none", ["iotype"] = "write-zeroes", ["errno"] = 5 }),
    };

    private static JsonObject Export(string name, string node) => new()
    {
        ["type"] = "nbd",
        ["id"] = name,
        ["name"] = name,
        ["node-name"] = node,
        ["writable"] = true,
    };

    private async Task<JsonNode> ExecuteAsync(string command, JsonObject arguments)
    {
        JsonObject request = new() { ["execute"] = command, ["arguments"] = arguments };
        await _process.StandardInput.WriteLineAsync(request.ToJsonString());
        await _process.StandardInput.FlushAsync();
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
        {
            JsonNode reply = JsonNode.Parse(line)!;
            if (reply["return"] is { } result)
            {
                return result;
            }

            Assert.True(reply["error"] is null, $"{command}: {line}");
        }

        throw new InvalidOperationException($"QEMU has ended: {Said}");
    }
}
