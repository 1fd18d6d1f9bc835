// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Management.Automation.Runspaces;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Tests;

/// <summary>Two consumers of one session, through the cmdlets.</summary>
public sealed class ConsumerTests
{
    private const string Vm =
        """
        $null = New-FleeceImage ./vm.raw 4MB
        $null = Mount-FleeceDisk ./vm.raw
        Write-FleeceDisk vm 0 ([byte[]](7) * 4MB)
        $session = Start-FleeceSession vm -Consumer local, offsite

        """;

    [Fact]
    public async Task Two_jobs_back_up_one_session_at_their_own_pace_while_the_guest_writes()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "Write-FleeceDisk vm 0 ([byte[]](8) * 4MB)");
        InitialSessionState state = InitialSessionState.CreateDefault2();
        state.ImportPSModule([Path.Combine(AppContext.BaseDirectory, "Fleece.psd1")]);
        using Runspace other = RunspaceFactory.CreateRunspace(state);
        other.Open();
        using PowerShell offsite = PowerShell.Create(other);
        offsite.AddScript(
            $"Read-FleeceSnapshot vm -Consumer offsite -DiscardConsumed -ChunkSizeBytes 64KB | Export-Backup '{shell.File("offsite.qcow2")}'");

        Task<PSDataCollection<PSObject>> running = offsite.InvokeAsync();
        shell.Run(
            """
            $null = Read-FleeceSnapshot vm -Consumer local -DiscardConsumed | Export-Backup ./local.raw
            1..20 | & { process { Write-FleeceDisk vm ($_ * 64KB) ([byte[]](9) * 64KB) } }
            """);
        await running;

        Assert.Empty(offsite.Streams.Error);
        Assert.Equal([new SnapshotRun(0, 4 * 1024 * 1024, SnapshotRunState.Consumed)], shell.Run("Get-FleeceSnapshotMap vm"));
        Assert.Equal(0, shell.Run<long>("(Get-FleeceSession vm).TempUsedBytes"));
        Assert.True(shell.Run<bool>("(Compare-FleeceImage ./local.raw ./offsite.qcow2).AreEqual"));
        Assert.All(await File.ReadAllBytesAsync(shell.File("local.raw")), value => Assert.Equal((byte)7, value));
        other.Close();
    }

    [Fact]
    public void A_range_is_kept_until_both_have_confirmed_it()
    {
        using ModuleRunspace shell = new();

        object[] told = shell.Run(Vm +
            """
            Write-FleeceDisk vm 0 ([byte[]](8) * 4MB)
            $null = Read-FleeceSnapshot vm -Consumer local -DiscardConsumed | Export-Backup ./local.raw
            (Get-FleeceSession $session).ConsumedBytes, (Get-FleeceSession $session).TempUsedBytes
            (Get-FleeceSession $session).Consumers | & { process { "$_ $($_.ConfirmedBytes) $($_.RemainingBytes)" } }
            @(Read-FleeceSnapshot vm -Consumer local).Count
            $null = Read-FleeceSnapshot vm -Consumer offsite -DiscardConsumed -LengthBytes 1MB | & { process { $_.Dispose() } }
            (Get-FleeceSession $session).ConsumedBytes, (Get-FleeceSession $session).TempUsedBytes
            """);

        Assert.Equal(
            [0L, 4L << 20, "local 4194304 0", "offsite 0 4194304", 0, 1L << 20, 3L << 20],
            told);
    }

    [Fact]
    public void A_consumer_that_fails_can_come_again_for_the_rest()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "Write-FleeceDisk vm 0 ([byte[]](8) * 4MB)");
        const string Read = "Read-FleeceSnapshot vm -Consumer offsite -DiscardConsumed -ChunkSizeBytes 1MB";

        shell.Ends($"{Read} | & {{ process {{ if ($_.OffsetBytes -ge 2MB) {{ throw 'full' }}; $_.Dispose() }} }}");
        object[] rest = shell.Run($"{Read} | & {{ process {{ $_.OffsetBytes; $_.Data[0] }} }}");

        Assert.Equal([2L << 20, (byte)7, 3L << 20, (byte)7], rest);
        Assert.Equal(0L, shell.Run<long>("(Get-FleeceSession $session).ConsumedBytes"));
    }

    [Fact]
    public void The_map_and_clearing_are_for_one_consumer_or_for_all()
    {
        using ModuleRunspace shell = new();

        object[] told = shell.Run(Vm +
            """
            Clear-FleeceSnapshot vm -Consumer local -OffsetBytes 0 -LengthBytes 1MB -Force
            Read-FleeceSnapshot vm -Consumer offsite -LengthBytes 512KB | Clear-FleeceSnapshot -Force
            "$(Get-FleeceSnapshotMap vm -Consumer local | & { process { "$($_.State) $($_.LengthBytes)" } })"
            "$(Get-FleeceSnapshotMap vm | & { process { "$($_.State) $($_.LengthBytes)" } })"
            Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 2MB -Force
            (Get-FleeceSession $session).Consumers.ConfirmedBytes
            """);

        Assert.Equal(["Consumed 1048576 Untouched 3145728", "Consumed 524288 Untouched 3670016", 2L << 20, 2L << 20], told);
    }

    [Theory]
    [InlineData("Read-FleeceSnapshot vm -DiscardConsumed", "ConsumerNotFound,Fleece.ReadFleeceSnapshotCommand")]
    [InlineData("Read-FleeceSnapshot vm -Consumer nobody", "ConsumerNotFound,Fleece.ReadFleeceSnapshotCommand")]
    [InlineData("Start-FleeceSession vm other -Consumer a, A", "ArgumentInvalid,Fleece.StartFleeceSessionCommand")]
    [InlineData("Read-FleeceSnapshot plain -Consumer local", "ConsumerNotFound,Fleece.ReadFleeceSnapshotCommand")]
    [InlineData("$two = @(Read-FleeceSnapshot vm -Consumer local) + @(Read-FleeceSnapshot vm -Consumer offsite); $two | Export-Backup ./b.raw", "ChunkOfAnotherSnapshot,Fleece.ExportFleeceBackupCommand")]
    public void What_could_discard_under_another_consumer_is_refused(string command, string id)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm plain");

        Assert.Equal(id, shell.Ends(command).FullyQualifiedErrorId);
        Assert.Equal(0L, shell.Run<long>("(Get-FleeceSession $session).ConsumedBytes"));
    }

    // An undefined variable must not mean "for all of them".
    [Theory]
    [InlineData("$undefined")]
    [InlineData("''")]
    [InlineData("nobody")]
    public void Clearing_for_a_consumer_that_is_none_clears_nothing(string consumer)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm);

        ErrorRecord error = shell.Reports($"Clear-FleeceSnapshot vm -Consumer {consumer} -OffsetBytes 0 -LengthBytes 1MB");

        Assert.Equal("ConsumerNotFound,Fleece.ClearFleeceSnapshotCommand", error.FullyQualifiedErrorId);
        Assert.Equal(0L, shell.Run<long>("(Get-FleeceSession $session).ConsumedBytes"));
    }

    [Fact]
    public void A_clients_export_is_that_of_its_consumer()
    {
        using ModuleRunspace shell = new();

        object[] told = shell.Run(Vm +
            """
            $export = Publish-FleeceExport vm nbd+unix:///?socket=$folder/s
            $export.Uris | & { process { $_.ExportName } }
            $uri = 'nbd+unix:///vm/vm/offsite?socket=' + "$folder/s"
            $null = Read-FleeceSnapshot -Uri $uri -DiscardConsumed -LengthBytes 1MB | & { process { $_.Dispose() } }
            @(Read-FleeceSnapshot -Uri $uri)[0].OffsetBytes
            @(Read-FleeceSnapshot -Uri ('nbd+unix:///vm/vm?socket=' + "$folder/s"))[0].OffsetBytes
            (Get-FleeceSession $session).Consumers.ConfirmedBytes
            (Get-FleeceSession $session).ConsumedBytes
            """);

        Assert.Equal(["vm", "vm/vm", "vm/vm/local", "vm/vm/offsite", 1L << 20, 0L, 0L, 1L << 20, 0L], told);
        ErrorRecord error = shell.Ends("Read-FleeceSnapshot -Uri \"nbd+unix:///vm/vm?socket=$folder/s\" -DiscardConsumed");
        Assert.Equal("DiskReadOnly,Fleece.ReadFleeceSnapshotCommand", error.FullyQualifiedErrorId);
        Assert.Contains("DISK/SESSION/CONSUMER", error.Exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Success_with_a_consumer_that_has_not_confirmed_all_comes_with_a_warning()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "Clear-FleeceSnapshot vm -Consumer local -OffsetBytes 0 -LengthBytes 4MB -Force");
        using PowerShell run = PowerShell.Create(shell.Runspace);

        run.AddScript("Stop-FleeceSession vm -Success").Invoke();

        Assert.Contains("'offsite' has not confirmed 4194304 bytes", Assert.Single(run.Streams.Warning).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_of_consumers_are_completed()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm plain");
        System.Collections.Hashtable plain = new() { ["Session"] = "plain" };

        Assert.Equal(
            ["local", "offsite"],
            new ConsumerNameCompleter().CompleteArgument("", "", "", null!, new System.Collections.Hashtable()).Select(offer => offer.CompletionText));
        Assert.Empty(new ConsumerNameCompleter().CompleteArgument("", "", "", null!, plain));
    }
}
