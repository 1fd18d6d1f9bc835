// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Tests;

/// <summary>Whatever ends a pipeline half-way: everything is unwound and nothing unconfirmed is discarded (I8).</summary>
public sealed class UnwindingTests
{
    private const string Session =
        """
        $null = New-FleeceImage ./vm.raw 8MB
        $null = Mount-FleeceDisk ./vm.raw
        $old = [byte[]]::new(8MB); [Random]::new(7).NextBytes($old)
        Write-FleeceDisk vm 0 $old
        $session = Start-FleeceSession vm
        Write-FleeceDisk vm 0 ([byte[]]::new(8MB))

        """;

    // Compares what is still readable with the instant, and returns how much of the disk is consumed.
    private const string Check =
        """

        foreach ($chunk in Read-FleeceSnapshot vm) {
            $part = [ArraySegment[byte]]::new($old, $chunk.OffsetBytes, $chunk.LengthBytes)
            if (-not [Linq.Enumerable]::SequenceEqual[byte]($chunk.Data, $part)) { throw "wrong bytes in $chunk" }
        }
        (Get-FleeceSession $session).ConsumedBytes
        """;

    [Fact]
    public void A_consumer_that_throws_consumes_only_what_it_disposed()
    {
        using ModuleRunspace shell = new();

        long consumedBytes = shell.Run<long>(Session +
            """
            $count = 0
            try {
                Read-FleeceSnapshot -DiscardConsumed -ChunkSizeBytes 64KB | & { process { if ($script:count++ -eq 3) { throw 'full' }; $_.Dispose() } }
                throw 'the consumer did not throw'
            } catch { if ("$_" -ne 'full') { throw } }
            """ + Check);

        Assert.Equal(3 * 64 * 1024, consumedBytes);
    }

    [Fact]
    public void A_pipeline_that_is_cut_leaves_the_reader_stopped_and_nothing_consumed()
    {
        using ModuleRunspace shell = new();

        long consumedBytes = shell.Run<long>(Session +
            "foreach ($i in 1) { Read-FleeceSnapshot -DiscardConsumed | & { process { break } } }" + Check);

        Assert.Equal(0, consumedBytes);
        shell.Run("Stop-FleeceSession vm; Dismount-FleeceDisk vm");
        Assert.Equal([shell.File("vm.raw")], Directory.GetFiles(shell.Folder.Path));
    }

    [Fact]
    public void A_backup_whose_read_was_cut_short_is_not_made()
    {
        using ModuleRunspace shell = new();
        shell.Run(Session);

        ErrorRecord error = shell.Ends("@(Read-FleeceSnapshot)[0..2] | Export-Backup ./b.raw");

        Assert.Equal("BackupIncomplete,Fleece.ExportFleeceBackupCommand", error.FullyQualifiedErrorId);
        Assert.Empty(Directory.GetFiles(shell.Folder.Path, "b.raw*"));
    }

    [Fact]
    public void A_read_that_fails_half_way_leaves_no_backup()
    {
        using ModuleRunspace shell = new();
        shell.Run(Session);

        ErrorRecord error = shell.Ends(
            """
            Read-FleeceSnapshot -ChunkSizeBytes 64KB | & { begin { $n = 0 } process { if ($n++ -eq 2) { Stop-FleeceSession vm }; $_ } } |
                Export-Backup ./b.raw
            """);

        Assert.Equal("SessionStopped,Fleece.ReadFleeceSnapshotCommand", error.FullyQualifiedErrorId);
        Assert.Empty(Directory.GetFiles(shell.Folder.Path, "b.raw*"));
    }

    [Fact]
    public void The_map_after_a_failure_shows_what_was_confirmed_and_nothing_else()
    {
        using ModuleRunspace shell = new();

        object[] runs = shell.Run(Session +
            """
            $count = 0
            try {
                Read-FleeceSnapshot -DiscardConsumed -ChunkSizeBytes 64KB |
                    & { process { if ($script:count++ -eq 5) { throw 'full' }; if ($_.OffsetBytes -ne 128KB) { $_.Dispose() } } }
            } catch { if ("$_" -ne 'full') { throw } }
            Get-FleeceSnapshotMap
            """);

        Assert.Equal(
            [
                new SnapshotRun(0, 128 * 1024, SnapshotRunState.Consumed),
                new SnapshotRun(128 * 1024, 64 * 1024, SnapshotRunState.Copied),
                new SnapshotRun(192 * 1024, 128 * 1024, SnapshotRunState.Consumed),
                new SnapshotRun(320 * 1024, (8192 - 320) * 1024, SnapshotRunState.Copied),
            ],
            runs.Cast<SnapshotRun>());
    }

    [Fact]
    public void A_failed_backup_ends_its_progress()
    {
        using ModuleRunspace shell = new();
        shell.Run(Session);
        using PowerShell pipeline = PowerShell.Create(shell.Runspace);

        pipeline.AddScript("try { @(Read-FleeceSnapshot)[0..2] | Export-Backup ./b.raw } catch { }").Invoke();

        Assert.Equal(ProgressRecordType.Completed, pipeline.Streams.Progress[^1].RecordType);
    }

    // Reading threads carry the session's name; the kernel keeps 15 characters of it.
    [Fact]
    public void A_pipeline_that_is_cut_leaves_no_thread_reading()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "thread names are read from /proc");
        using ModuleRunspace shell = new();
        shell.Run(Session);

        shell.Run("foreach ($i in 1) { Read-FleeceSnapshot -ChunkSizeBytes 64KB | & { process { break } } }");

        Assert.True(SpinWait.SpinUntil(
            () => !ReadingThreads().Any(), TimeSpan.FromMinutes(1)), "a thread still reads the snapshot");
    }

    // Stopped from another thread, as Ctrl+C does, while the pipeline thread waits in the middle of the backup.
    [Theory]
    [InlineData("Read-FleeceSnapshot -DiscardConsumed -ChunkSizeBytes 64KB | & { process { $null = $reached.Set(); $never.Wait() } }")]
    [InlineData("Read-FleeceSnapshot -DiscardConsumed -ChunkSizeBytes 64KB | & { process { $null = $reached.Set(); $never.Wait(); $_ } } | Export-Backup ./b.raw")]
    [InlineData("Read-FleeceSnapshot -DiscardConsumed -ChunkSizeBytes 64KB | & { process { $_; $null = $reached.Set(); [Threading.Thread]::Sleep(1) } } | Export-Backup ./b.raw")]
    public void After_Ctrl_C_nothing_leaks_and_what_was_not_stored_is_still_there(string pipeline)
    {
        using ModuleRunspace shell = new();
        using ManualResetEventSlim reached = new();
        using ManualResetEventSlim never = new();
        shell.Runspace.SessionStateProxy.SetVariable("reached", reached);
        shell.Runspace.SessionStateProxy.SetVariable("never", never);
        shell.Run(Session);
        using (PowerShell running = PowerShell.Create(shell.Runspace))
        {
            IAsyncResult job = running.AddScript(pipeline).BeginInvoke();
            reached.Wait();
            IAsyncResult stop = running.BeginStop(null, null);
            never.Set();
            running.EndStop(stop);
            Assert.Throws<PipelineStoppedException>(() => running.EndInvoke(job));
        }

        long consumedBytes = shell.Run<long>(Check);

        Assert.InRange(consumedBytes, 0, (8 * 1024 * 1024) - 1);
        Assert.False(File.Exists(shell.File("b.raw")));
        Assert.Equal(consumedBytes > 0, File.Exists(shell.File("b.raw.partial")));
        shell.Run("Stop-FleeceSession vm; Dismount-FleeceDisk vm; (Mount-FleeceDisk ./vm.raw).Name; Dismount-FleeceDisk vm");
        Assert.DoesNotContain(Directory.GetFiles(shell.Folder.Path), path => path.EndsWith("fleece-temp", StringComparison.Ordinal));
    }

    [Fact]
    public void Removing_the_module_closes_its_disks()
    {
        using ModuleRunspace shell = new();
        shell.Run(Session);

        shell.Run("Remove-Module Fleece; [IO.File]::Open(\"$folder/vm.raw\", 'Open', 'ReadWrite', 'None').Dispose()");

        Assert.Equal([shell.File("vm.raw")], Directory.GetFiles(shell.Folder.Path));
        shell.Run($"Import-Module '{Path.Combine(AppContext.BaseDirectory, "Fleece.psd1")}'");
    }

    [Fact]
    public void A_chunk_that_is_disposed_after_its_session_ended_is_no_error()
    {
        using ModuleRunspace shell = new();

        string left = shell.Run<string>(Session +
            """
            $chunks = @(Read-FleeceSnapshot -DiscardConsumed)
            Stop-FleeceSession vm
            foreach ($chunk in $chunks) { $chunk.Dispose() }
            "$(@(Get-FleeceSession).Count) sessions"
            """);

        Assert.Equal("0 sessions", left);
    }

    private static IEnumerable<string> ReadingThreads()
    {
        foreach (string folder in Directory.GetDirectories("/proc/self/task"))
        {
            string name;
            try
            {
                name = File.ReadAllText(Path.Combine(folder, "comm"));
            }
            catch (IOException)
            {
                continue; // The thread has ended since the folder was listed.
            }

            if (name.StartsWith("Fleece reads", StringComparison.Ordinal))
            {
                yield return name;
            }
        }
    }
}
