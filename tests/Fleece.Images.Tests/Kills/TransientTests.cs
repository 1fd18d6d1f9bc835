// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Tests.Crashes;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Kills;

/// <summary>A write with FUA to an image whose flushes do nothing outlives its process, with the tables that lead to it: temp of sessions
/// relies on it.</summary>
public sealed class TransientTests : IDisposable
{
    private const int Requests = 40;

    private readonly TempFolder _folder = new();

    public static TheoryData<string> Rows => CrashRows.JournaledNames;

    public void Dispose() => _folder.Dispose();

    // Method: at moments around the changes of the file, and after each request, what is written is opened as the next process would. No
    // flush reaches the file, so nothing but the order of its changes is left.
    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_kill_at_any_moment_loses_no_write_that_was_made_with_FUA(string name)
    {
        CrashRow row = CrashRows.Find(name);
        Seeds seeds = Seeds.FromEnvironment();
        CrashImage image = row.Make(_folder, seeds);
        CrashJudge judge = new(row, image, _folder, seeds, fault: null);
        DiskHistory history = new((byte[])image.Content.Clone());
        MemoryContainer file = new((byte[])image.Bytes.Clone(), path: image.Path);
        string moment = "at the start";
        void Kill() => judge.CheckFile((byte[])file.Content.Clone(), history, $"killed {moment}, {row.Name}, seed {seeds.Seed}");
        IBlockNode node = image.Open(row.Format, new UnflushedFile(file));
        file.AroundChange = () =>
        {
            if (seeds.Chance(row.Format == ImageFormat.Vhdx ? 5 : 15))
            {
                Kill();
            }
        };
        for (int request = 0; request < Requests; request++)
        {
            moment = $"in request {request}";
            BlockRange range = seeds.Range(image.Content.Length);
            range = new BlockRange(range.OffsetBytes, Math.Min(range.LengthBytes, 20_000));
            if (seeds.Chance(25))
            {
                history.Discard(range);
                await node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
                continue;
            }

            byte[] data = seeds.Bytes(range.LengthBytes);
            WriteFlags flags = seeds.Chance(70) ? WriteFlags.ForceUnitAccess : WriteFlags.None;
            DiskHistory.Change change = history.Write(range.OffsetBytes, data);
            await node.WriteAsync(range.OffsetBytes, data, flags, CancellationToken.None);
            change.IsDurable = flags == WriteFlags.ForceUnitAccess;
            moment = $"behind request {request}";
            Kill();
        }

        file.AroundChange = null;
        await Image.AbandonAsync(node);
    }
}
