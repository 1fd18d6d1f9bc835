// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Crashes;

/// <summary>
/// Judges the file that a crash has left: its check finds leaks at most, a second reader and another program agree, it opens, its disk
/// holds content that the history allows, and its status agrees with the content. Some files are opened for writing or repaired, with
/// crashes inside that.
/// </summary>
internal sealed class CrashJudge(CrashRow row, CrashImage image, TempFolder folder, Seeds seeds, PlantedFault? fault)
{
    private readonly IImageDriver _driver = CrashRows.FindDriver(row.Format);
    private readonly byte[] _content = new byte[image.Content.Length];

    /// <summary>The part of the unflushed changes that a crash keeps, at random: none, all, the first ones, all but one, or any; of whole
    /// changes or of pieces of them.</summary>
    public byte[] Crash(MemoryContainer file)
    {
        int at = 0;
        int bound = seeds.Next(file.UnflushedCount + 1);
        int percent = seeds.Pick(0, 30, 70, 100);
        int pieceBytes = seeds.Chance(40) ? row.TearBytes : int.MaxValue;
        return seeds.Next(4) switch
        {
            0 => file.Crash(() => at++ < bound),
            1 => file.Crash(() => at++ != bound),
            _ => file.Crash(() => seeds.Chance(percent), pieceBytes),
        };
    }

    /// <summary>Judges one file.</summary>
    public void Check(byte[] crashed, DiskHistory history, string context)
    {
        try
        {
            CheckFile(crashed, history, context);
            switch (seeds.Next(20))
            {
                case 0:
                    CheckRepair(crashed, history, context);
                    break;
                case < 3:
                    CheckOpening(crashed, history, context);
                    break;
            }

            if (seeds.Chance(2))
            {
                CheckByPeer(crashed, context);
            }
        }
        catch (BlockException failure)
        {
            Assert.Fail($"{failure.Message} {context}");
        }
    }

    /// <summary>Has another program judge a file that a crash has left.</summary>
    public void CheckByPeer(byte[] crashed, string context) => row.AuditByPeer?.Invoke(folder, crashed, false, context);

    /// <summary>Fails the test unless nothing at all is wrong with a file that was closed.</summary>
    public void CheckClosed(byte[] bytes, string context)
    {
        MemoryContainer file = new(bytes, isReadOnly: true, image.Path);
        ImageReport report = _driver.Check(file, ImageRepair.None, CancellationToken.None);
        Assert.True(report.IsClean, $"{string.Join('\n', report.Findings)} {context}");
        Assert.False(IsDirty(bytes), $"The closed image says that it is in use; {context}");
        row.AuditByPeer?.Invoke(folder, bytes, true, context);
    }

    /// <summary>True when an image says that a program has it open or has died with it.</summary>
    public bool IsDirty(byte[] bytes)
    {
        MemoryContainer file = new(bytes, isReadOnly: true, image.Path);
        ImageInfo told = new()
        {
            Path = image.Path,
            Format = row.Format,
            SizeBytes = 0,
            FileSizeBytes = bytes.Length,
            AllocatedBytes = bytes.Length,
        };
        return _driver.Describe(file, told).IsDirty;
    }

    /// <summary>Repairs a file, with crashes before each flush of the repair.</summary>
    public void CheckRepair(byte[] crashed, DiskHistory history, string context)
    {
        MemoryContainer file = Again(crashed, history, $"repairing {context}");
        ImageReport report = _driver.Check(file, ImageRepair.Leaks, CancellationToken.None);
        Assert.True(report.CorruptionCount == 0, $"{string.Join('\n', report.Findings)} after a repair, {context}");
        Assert.True(report.IsClean || !row.RepairsAllLeaks, $"{string.Join('\n', report.Findings)} after a repair, {context}");
        CheckFile(file.Content, history, $"repaired {context}");
    }

    /// <summary>Opens a file for writing and closes it, with crashes before each flush.</summary>
    public void CheckOpening(byte[] crashed, DiskHistory history, string context)
    {
        MemoryContainer file = Again(crashed, history, $"opening {context}");
        IBlockNode node = image.Open(row.Format, PlantedContainer.Plant(fault, file, row.Format));
        history.Check(CrashImage.Read(node, _content), $"opened for writing, {context}");
        node.DisposeAsync().AsTask().GetAwaiter().GetResult();
        CheckFile(file.Content, history, $"opened and closed, {context}");
        Assert.False(IsDirty(file.Content), $"The image says that it is in use; opened and closed, {context}");
    }

    private MemoryContainer Again(byte[] crashed, DiskHistory history, string context)
    {
        MemoryContainer file = new((byte[])crashed.Clone(), path: image.Path);
        file.BeforeFlush = () => CheckFile(Crash(file), history, $"a second crash while {context}");
        return file;
    }

    /// <summary>Fails the test unless a file is an image of the history, with leaks at most.</summary>
    public void CheckFile(byte[] bytes, DiskHistory history, string context)
    {
        MemoryContainer file = new(bytes, isReadOnly: true, image.Path);
        ImageReport report = _driver.Check(file, ImageRepair.None, CancellationToken.None);
        Assert.True(report.CorruptionCount == 0, $"{string.Join('\n', report.Findings)} {context}");
        IBlockNode node = image.Open(row.Format, file);
        byte[] content = CrashImage.Read(node, _content);
        history.Check(content, context);
        CheckStatus(node, content, context);
        node.DisposeAsync().AsTask().GetAwaiter().GetResult();
        row.Audit?.Invoke(image, bytes, content, context);
    }

    private static void CheckStatus(IBlockNode node, byte[] content, string context)
    {
        for (long atBytes = 0; atBytes < content.Length;)
        {
            Task<BlockStatusRun> asking = node.GetStatusAsync(atBytes, content.Length - atBytes, CancellationToken.None).AsTask();
            BlockStatusRun run = asking.GetAwaiter().GetResult();
            Assert.InRange(run.LengthBytes, 1, content.Length - atBytes);
            bool isZero = !content.AsSpan((int)atBytes, (int)run.LengthBytes).ContainsAnyExcept((byte)0);
            Assert.True(isZero || !run.ReadsAsZero, $"{run} at {atBytes} reads other bytes than zeros; {context}");
            atBytes += run.LengthBytes;
        }
    }
}
