// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

/// <summary>Freeing the end of a file while it grows.</summary>
public sealed class LocalFileRaceTests : IDisposable
{
    private const int Rounds = 1000;
    private const int EndBytes = 8192 + 512;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Freeing_up_to_the_end_keeps_what_is_appended_meanwhile(bool isDiscard)
    {
        // Goal: a hole ends with the file, not with its last block. Method: another thread appends into that block while
        // this one frees up to the old end; new files and threads each round, because then the two meet most often.
        byte[] content = new byte[EndBytes];
        byte[] appended = Seeds.FromEnvironment().Bytes(512);
        byte[] read = new byte[appended.Length];
        int lostCount = 0;
        for (int round = 0; round < Rounds; round++)
        {
            string path = _folder.NewFile();
            using LocalFile file = LocalFile.Create(path, 0);
            using Barrier meeting = new(2);
            file.Write(0, content);
            Thread appender = new(() =>
            {
                meeting.SignalAndWait();
                file.Write(EndBytes, appended);
            });
            appender.Start();
            meeting.SignalAndWait();
            Free(file, isDiscard);
            appender.Join();
            file.Read(EndBytes, read);
            lostCount += read.AsSpan().SequenceEqual(appended) ? 0 : 1;
            File.Delete(path);
        }

        Assert.Equal(0, lostCount);
    }

    private static void Free(LocalFile file, bool isDiscard)
    {
        BlockRange range = new(4096, EndBytes - 4096);
        if (isDiscard)
        {
            file.Discard(range);
        }
        else
        {
            file.WriteZeroes(range);
        }
    }
}
